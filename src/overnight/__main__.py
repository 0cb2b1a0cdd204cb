"""`overnight` and `python -m overnight`: the command line, where it can run."""

import sys


def main() -> None:
    # Before any other import: the modules below need fork, flock and bound sockets to hand on.
    if sys.platform == "win32":
        sys.exit(_refuse_windows())
    from overnight.cli.main import main as run

    run()


def _refuse_windows() -> int:
    sys.stderr.write("Overnight runs on Linux and macOS; on Windows use WSL.\n")
    return 2


if __name__ == "__main__":
    main()
