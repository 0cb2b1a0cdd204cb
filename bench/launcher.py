"""Runs a command and prints what it cost, as one JSON object; ends as the command ended.

python -S bench/launcher.py COMMAND …

A process inherits the peak memory of the one that starts it, so a small one has to.
"""

import json
import os
import sys
import time


def main() -> int:
    began = time.monotonic()
    quiet = os.open(os.devnull, os.O_WRONLY)
    to_nowhere = [(os.POSIX_SPAWN_DUP2, quiet, 1)]
    pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=to_nowhere)
    _, status, usage = os.wait4(pid, 0)
    cost = {
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "wall_seconds": time.monotonic() - began,
        "peak_mb": usage.ru_maxrss / 1024,
    }
    print(json.dumps(cost))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
