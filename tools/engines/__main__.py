"""`python -m tools.engines {test,demo,serve} [ENGINE|all]`."""

import argparse
import signal
import subprocess
import sys

from overnight.cli.demo.processes import cleaning_up_on_signals
from overnight.domain.errors import Unavailable
from tools.engines.catalogue import ENGINES
from tools.engines.installation import install
from tools.engines.process import running_engine
from tools.engines.story import tell
from tools.engines.trial import try_out
from tools.environment import say


def serve(name: str) -> bool:
    """An engine to try things on, until Ctrl-C."""
    install(ENGINES[name])
    with running_engine(ENGINES[name]) as process:
        seconds = process.wait_until_ready()
        say(f"{process.base_url}  model {process.engine.served_as}  ready after {seconds:.1f} s")
        signal.pause()
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.engines", description=__doc__)
    parser.add_argument("what", choices=("test", "demo", "serve"))
    parser.add_argument("engine", nargs="?", default=next(iter(ENGINES)), choices=(*ENGINES, "all"))
    given = parser.parse_args()
    names = list(ENGINES) if given.engine == "all" else [given.engine]
    try:
        with cleaning_up_on_signals():
            match given.what:
                case "test":
                    right = [try_out(ENGINES[name]) for name in names]
                case "demo":
                    right = [tell(ENGINES[name]) for name in names]
                case _:
                    right = [serve(name) for name in names]
    except (Unavailable, subprocess.CalledProcessError) as error:
        notes = getattr(error, "__notes__", [])
        sys.stderr.write("\n".join([f"error: {error}", *notes]) + "\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
