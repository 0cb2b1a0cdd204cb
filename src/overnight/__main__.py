"""`overnight` and `python -m overnight`: the command line, where it can run."""

import os
import sys


def main() -> None:
    # Before any other import: the modules below need fork, flock and bound sockets to hand on.
    if sys.platform == "win32":
        sys.exit(_refuse_windows())
    _fill_closed_streams()
    try:
        from overnight.cli.main import main as run

        run()
    except KeyboardInterrupt:  # While loading, which takes its time on a busy machine.
        if "--debug" in sys.argv:
            raise
        sys.exit(130)


def _fill_closed_streams() -> None:
    """Of a shell's `>&-` Python makes None, and the first file opened would get its descriptor."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _refuse_windows() -> int:
    sys.stderr.write("Overnight runs on Linux and macOS; on Windows use WSL.\n")
    return 2


if __name__ == "__main__":
    main()
