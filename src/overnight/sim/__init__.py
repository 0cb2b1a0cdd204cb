"""A simulated inference engine: OpenAI-compatible, deterministic, without a model.

For demos, tests and capacity planning. The same seed, model, endpoint and body give the same
reply in every process; latency and faults depend on the number of the attempt as well, so that
what failed may succeed when it is sent again.
"""

from overnight.sim.engine import SimEngine, Stats
from overnight.sim.faults import parse_faults
from overnight.sim.options import SimOptions
from overnight.sim.serve import serve, serve_unix

__all__ = ["SimEngine", "SimOptions", "Stats", "parse_faults", "serve", "serve_unix"]
