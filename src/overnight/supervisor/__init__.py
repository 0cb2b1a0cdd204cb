"""The process that starts the others, watches them, and starts them again.

It does nothing else, imports neither the web nor the SQL stack, and therefore has no reason to
die. What passes between it and a child, each started as `python -m overnight.node ROLE …`:

- `--assignment FD`: a pipe. Its first line is one JSON `settings.Assignment`; its end means that
  the supervisor is gone and the child must exit now.
- `--lock FD`: the data folder's lock. Merely being open in a child keeps others out.
- `--socket FD` (`api` only): the bound, listening socket. It outlives the process that
  accepts from it, so clients wait in its queue while that is being replaced.
- SIGTERM: finish or release what is in hand within 8 s and exit 0.
"""

from overnight.supervisor.supervisor import Supervisor

__all__ = ["Supervisor"]
