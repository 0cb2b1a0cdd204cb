"""All benches in turn: `python -m bench`, or `make bench`."""

import subprocess
import sys
from pathlib import Path

BENCHES = ("dispatch.py", "run.py")


def main() -> int:
    for name in BENCHES:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, Path(__file__).with_name(name), *sys.argv[1:]], check=True)
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
