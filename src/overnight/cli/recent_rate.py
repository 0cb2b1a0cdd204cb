"""How fast something goes, now."""

from collections import deque
from typing import Final, NamedTuple

RATE_WINDOW_SECONDS: Final = 60.0
_DONE_MIN: Final = 10
"""The window is longer than a minute until so many came back in it: some engines are slow."""
_SAMPLE_SECONDS: Final = 1.0


class Sample(NamedTuple):
    """What there was at a moment, in seconds of a monotonic clock."""

    at: float
    done: int
    tokens: int


class RecentRate:
    """How much is done per second, over the last minute: nights have fast and slow hours.

    The first sample is what there was before, and counts for nothing.
    """

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()

    def sample(self, now: float, done: int, tokens: int = 0) -> None:
        samples = self._samples
        if len(samples) > 1 and (
            now - samples[-2].at < _SAMPLE_SECONDS or samples[-2].done == samples[-1].done == done
        ):
            samples.pop()
        samples.append(Sample(now, done, tokens))
        while (
            len(samples) > 2
            and now - samples[1].at >= RATE_WINDOW_SECONDS
            and done - samples[1].done >= _DONE_MIN
        ):
            samples.popleft()

    def per_second(self) -> float | None:
        """None until there is something to go by."""
        seconds, done, _ = self._lately()
        return done / seconds if seconds else None

    def tokens_per_second(self) -> float | None:
        seconds, _, tokens = self._lately()
        return tokens / seconds if seconds else None

    @property
    def seconds(self) -> float:
        """How much time the rate is of."""
        return self._lately()[0]

    def _lately(self) -> tuple[float, float, float]:
        """Seconds, done and tokens in the window, whose start may lie between two samples."""
        if len(self._samples) < 2:
            return 0.0, 0.0, 0.0
        (then, had, tokens_had), after, now = self._samples[0], self._samples[1], self._samples[-1]
        start = now.at - RATE_WINDOW_SECONDS
        if then < start < after.at and now.done - after.done >= _DONE_MIN:
            share = (start - then) / (after.at - then)
            past_done, past_tokens = share * (after.done - had), share * (after.tokens - tokens_had)
        else:
            start, past_done, past_tokens = then, 0.0, 0.0
        return (
            max(0.0, now.at - start),
            now.done - had - past_done,
            now.tokens - tokens_had - past_tokens,
        )
