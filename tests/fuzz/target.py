"""What is fuzzed: a function that is given bytes, and raises when a rule is broken."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CORPORA: Final = Path(__file__).parent / "corpus"


@dataclass(frozen=True, slots=True)
class Target:
    """`check` raises for bytes that break a rule. `words` are put in where single bytes would not
    get far; `bytes_max` keeps runs short."""

    name: str
    check: Callable[[bytes], None]
    words: tuple[bytes, ...] = ()
    bytes_max: int = 2_048

    @property
    def corpus(self) -> Path:
        """Inputs that each reach something, and those that once broke a rule (`crash-…`)."""
        return CORPORA / self.name


def pieces(data: bytes, sizes: bytes) -> list[bytes]:
    """`data` cut into pieces as long as `sizes` say, over and over; whole when they say nothing."""
    if not any(sizes):
        return [data] if data else []
    cut, place, turn = [], 0, 0
    while place < len(data):
        size = sizes[turn % len(sizes)]
        turn += 1
        if size:
            cut.append(data[place : place + size])
            place += size
    return cut
