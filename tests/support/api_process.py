"""The API in a process of its own, so that its memory can be told from the test's.

    python -m support.api_process FOLDER

Prints its port, then the most memory it ever held (bytes) for each line it reads, until EOF.
"""

import resource
import sys
from pathlib import Path

from support.api_server import ApiServer


def most_memory_bytes() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        # Unlike `ru_maxrss`, not inherited from the process that started this one.
        line = next(line for line in status.read_text().splitlines() if "VmHWM" in line)
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    with ApiServer(Path(sys.argv[1])) as server:
        print(server.port, flush=True)
        for _ in sys.stdin:
            print(most_memory_bytes(), flush=True)


if __name__ == "__main__":
    main()
