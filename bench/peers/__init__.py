"""The environment of the peers: made when a bench first asks for it."""

from pathlib import Path

from tools.environment import ROOT, Environment

_LOCK = Path(__file__).with_name("requirements.lock")


def python_of_peers() -> str:
    """Raises `subprocess.CalledProcessError` when it can not be installed."""
    environment = Environment(ROOT / ".cache" / "bench", _LOCK)
    environment.make()
    return str(environment.python)
