"""The lanes a worker holds: claimed up to its share, reported, handed back when others come."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from overnight.dispatch.dispatcher import Dispatcher
from overnight.dispatch.lane import Lane, LaneOptions
from overnight.seams import Clock
from overnight.store.lanes import LaneClaim, LaneReport

CAUTIOUS_SECONDS: Final = 60.0
"""After a takeover the upstream may still be busy with the dead owner's requests."""
RETIRE_SECONDS: Final = 30.0
"""How long a lane that is to go to another worker may wait for what is in flight on it."""

LaneKey = tuple[str, int]
_Seen = tuple[frozenset[str] | None, bool, str, float | None]


class LaneNews(NamedTuple):
    """A lane is not as it was last told to be."""

    seen: _Seen
    report: LaneReport


@dataclass(slots=True, eq=False)
class _Held:
    claim: LaneClaim
    lane: Lane
    cautious_until: float | None
    retire_until: float | None = None
    told: _Seen | None = None
    """What the last report that was written said."""

    @property
    def seen(self) -> _Seen:
        health = self.lane.health
        return self.lane.models, self.lane.answered, health.reason, health.paused_until

    @property
    def idle(self) -> bool:
        return all(slot.request is None for slot in self.lane.slots)


class HeldLanes:
    """Times are the monotonic clock's."""

    def __init__(
        self, dispatcher: Dispatcher, clock: Clock, upstreams: Mapping[str, LaneOptions]
    ) -> None:
        self._dispatcher = dispatcher
        self._clock = clock
        self._upstreams = upstreams
        self._held: dict[LaneKey, _Held] = {}
        self.leaving: list[LaneClaim] = []
        """Closed here, to be handed back by the next transaction."""

    def __iter__(self) -> Iterator[Lane]:
        return (held.lane for held in self._held.values())

    def sendable(self, model: str) -> bool:
        """Is there a lane on which a request for the model could go now?"""
        return any(lane.health.paused_until is None and lane.serves(model) for lane in self)

    def add(self, claim: LaneClaim, now: float) -> None:
        """Begin to send on a lane, gently when its last owner died."""
        options = self._upstreams[claim.url].of_lane(claim.number)
        slots = max(1, options.max_in_flight // 2) if claim.taken_over else options.max_in_flight
        lane = self._dispatcher.add_lane(options, slots)
        cautious_until = now + CAUTIOUS_SECONDS if claim.taken_over else None
        self._held[claim.url, claim.number] = _Held(claim, lane, cautious_until)

    def lose(self, key: LaneKey) -> None:
        """Another worker owns it: stop at once."""
        held = self._held.pop(key, None)
        if held is not None:
            self._dispatcher.remove_lane(held.lane)

    def tend(self, surplus: int, now: float) -> None:
        """Widen lanes whose time of caution is over, and let go of `surplus` of them."""
        for held in self._held.values():
            if held.cautious_until is not None and held.cautious_until <= now:
                held.cautious_until = None
                self._dispatcher.widen(held.lane)
        self._choose_who_goes(surplus, now)
        for key, held in list(self._held.items()):
            if held.retire_until is not None and (held.idle or held.retire_until <= now):
                self.lose(key)
                self.leaving.append(held.claim)

    def _choose_who_goes(self, surplus: int, now: float) -> None:
        """The last lanes of upstreams go first. One that goes sends nothing more."""
        order = sorted(self._held.values(), key=lambda held: (-held.claim.number, held.claim.url))
        for place, held in enumerate(order):
            if place < surplus:
                held.lane.held_back = True
                held.retire_until = held.retire_until or now + RETIRE_SECONDS
            elif held.retire_until is not None:
                held.retire_until = None
                held.lane.held_back = self._dispatcher.disk_full
                held.lane.wake()

    def news(self) -> dict[LaneKey, LaneNews]:
        return {
            key: LaneNews(held.seen, self._report(held))
            for key, held in self._held.items()
            if held.seen != held.told
        }

    def told(self, news: Mapping[LaneKey, LaneNews]) -> None:
        """These reports were committed."""
        for key, (seen, _) in news.items():
            if key in self._held:
                self._held[key].told = seen

    def _report(self, held: _Held) -> LaneReport:
        models, answered, reason, until = held.seen
        claim = held.claim
        return LaneReport(
            url=claim.url,
            number=claim.number,
            epoch=claim.epoch,
            models=None if models is None else sorted(models),
            answered=answered,
            paused_reason=reason or None,
            # Kept by the monotonic clock, told as wall time.
            paused_until=until and self._clock.now() + until - self._clock.monotonic(),
        )
