"""Install an engine into an environment of its own and make its model, unless both are there."""

import hashlib
import os
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overnight.domain.errors import Unavailable
from tools.engines.catalogue import Engine
from tools.environment import ROOT, run, say

TEXT: Final = ROOT / "src" / "overnight" / "cli" / "demo" / "pride_and_prejudice.txt"
"""What tokenizers learn their words from."""

_HERE: Final = Path(__file__).resolve().parent
_STAMP_NAME: Final = ".made-from"


@dataclass(frozen=True)
class Installed:
    seconds: float
    """0 when it was there before."""
    bytes: int

    def __str__(self) -> str:
        took = f"in {self.seconds:.0f} s" if self.seconds else "before"
        return f"installed {took}, {self.bytes / 1e9:.1f} GB"


def install(engine: Engine) -> Installed:
    """Returns what it took. Raises `Unavailable` with what pip or the model's maker said."""
    stamp = engine.folder / _STAMP_NAME
    began = time.monotonic()
    made = not (stamp.exists() and stamp.read_text() == _digest(engine))
    if made:
        say(f"Installing {engine.title} ({engine.cost}) …")
        # The stamp goes first and comes last: an environment without one is rubbish.
        stamp.unlink(missing_ok=True)
        try:
            _install(engine)
            _make_model(engine)
        except subprocess.CalledProcessError as failure:
            said = f"{failure.output}".strip()[-2000:]
            raise Unavailable(f"{engine.title} can not be installed:\n{said}") from None
        stamp.write_text(_digest(engine))
    seconds = time.monotonic() - began if made else 0.0
    return Installed(seconds, _size_of(engine.folder))


def _install(engine: Engine) -> None:
    python = engine.folder / "bin" / "python"
    run([sys.executable, "-m", "venv", "--clear", str(engine.folder)])
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    run([*pip, "install", *engine.packages])
    if engine.unwanted:
        run([*pip, "uninstall", "--yes", *engine.unwanted])
    if engine.stands_in_for is not None:
        _stand_in(engine.folder, engine.stands_in_for)


def _stand_in(environment: Path, distribution: str) -> None:
    """Metadata under the name that a renamed wheel looks itself up by."""
    name, version = distribution.split("==")
    site = next(environment.glob("lib/python*/site-packages"))
    metadata = site / f"{name}-{version.partition('+')[0]}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def _make_model(engine: Engine) -> None:
    engine.model.mkdir()
    maker = _HERE / engine.model_maker
    run([str(engine.folder / "bin" / "python"), str(maker), str(engine.model), str(TEXT)])


def _digest(engine: Engine) -> str:
    """Changes with what is installed, with the interpreter and with how the model is made."""
    parts = [
        *engine.packages,
        *engine.unwanted,
        str(engine.stands_in_for),
        sys.version,
        sysconfig.get_platform(),
        (_HERE / engine.model_maker).read_text(),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _size_of(folder: Path) -> int:
    return sum(
        (Path(place) / name).lstat().st_size
        for place, _, names in os.walk(folder)
        for name in names
    )
