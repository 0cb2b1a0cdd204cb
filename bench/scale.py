"""How much is measured: all of it, or enough to see that the benches work."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    rounds: int = 5
    share: float = 1.0
    """Of the requests, lines and bytes of a full run."""

    def of(self, full: int) -> int:
        return max(1, int(full * self.share))


FULL = Scale()
QUICK = Scale(rounds=1, share=0.05)
