"""The feed: which request is sent next.

Requests wait in streams, one per job and model. Each lane goes round the streams it can serve,
one request from each, so that no job waits for another's end. A request that is to be tried
again waits here until its time, never in a slot.
"""

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Final

from overnight.dispatch.segment import is_disk_full
from overnight.dispatch.shard import OpenShard, Request


class Stream:
    """What one job still has for one model: requests that came back first, then new ones."""

    __slots__ = ("model", "returned", "shards")

    def __init__(self, model: str) -> None:
        self.model = model
        self.shards: deque[OpenShard] = deque()
        self.returned: deque[Request] = deque()

    def take(self) -> Request | None:
        if self.returned:
            return self.returned.popleft()
        shards = self.shards
        while shards:
            request = next(shards[0].requests, None)
            if request is not None:
                return request
            shards.popleft()
        return None


class Round:
    """The streams one lane serves, in turn. `models` None means any."""

    __slots__ = ("_feed", "_members", "_ring", "models")

    def __init__(self, feed: "Feed", models: frozenset[str] | None) -> None:
        self._feed = feed
        self._ring: deque[Stream] = deque()
        self._members: set[Stream] = set()
        self.models = models

    def serves(self, model: str) -> bool:
        return self.models is None or model in self.models

    def join(self, stream: Stream) -> None:
        """Put a stream that has something to send into the round, if this lane serves it."""
        if stream not in self._members and self.serves(stream.model):
            self._members.add(stream)
            self._ring.append(stream)

    def clear(self) -> None:
        self._ring.clear()
        self._members.clear()

    def next(self) -> Request | None:
        """The next request for this lane, or None when it has to wait."""
        feed = self._feed
        if feed.closed:
            return None
        if feed.one_by_one:
            return feed.next_alone(self)
        ring = self._ring
        while ring:
            stream = ring[0]
            request = stream.take()
            if request is not None:
                if len(ring) > 1:
                    ring.rotate(-1)
                feed.out += 1
                return request
            self._members.discard(stream)
            ring.popleft()
        return None


class Feed:
    """All streams, the requests waiting for another try, and how many requests are out.

    `disk_full` is called when a request can not be announced for want of room.
    """

    def __init__(self, disk_full: Callable[[], None]) -> None:
        self._disk_full: Final = disk_full
        self._streams: dict[tuple[str, str], Stream] = {}
        self._rounds: list[Round] = []
        self._later: list[tuple[float, int, Request]] = []
        self._tie: Final = count()
        self.one_by_one: deque[OpenShard] = deque()
        """Shards whose requests are sent with nothing else in flight; the first goes first."""
        self.closed = False
        """Closed: nothing more is handed out."""
        self.out = 0

    @property
    def waiting(self) -> int:
        """Requests whose time to be tried again has not come."""
        return len(self._later)

    def round(self, models: frozenset[str] | None) -> Round:
        """A new lane's round."""
        made = Round(self, models)
        self._rounds.append(made)
        self.serve(made, models)
        return made

    def leave(self, which: Round) -> None:
        """A lane is gone."""
        which.clear()
        self._rounds.remove(which)

    def serve(self, which: Round, models: frozenset[str] | None) -> None:
        """Tell a lane's round what its upstream serves now."""
        which.models = models
        which.clear()
        for stream in self._streams.values():
            which.join(stream)

    def open(self, shard: OpenShard) -> None:
        """Take in a shard's requests."""
        if shard.order.one_by_one:
            self.one_by_one.append(shard)
            return
        stream = self._stream(shard)
        stream.shards.append(shard)
        self._announce(stream)

    def close(self, shard: OpenShard) -> None:
        """Forget a shard that is done or given up."""
        if shard in self.one_by_one:
            self.one_by_one.remove(shard)
        key = (shard.order.job_id, shard.order.model)
        stream = self._streams.get(key)
        if stream is None:
            return
        if shard in stream.shards:
            stream.shards.remove(shard)
        if not stream.shards and not stream.returned:
            del self._streams[key]

    def back(self, request: Request) -> None:
        """A request that was out is to be sent again as soon as any lane can."""
        self.out -= 1
        if request.shard.stopped:
            request.shard.forgo()
        else:
            self._return(request)

    def again(self, request: Request, not_before: float) -> None:
        """A request that was out is to be sent again, at `not_before` (the loop's seconds)."""
        self.out -= 1
        heapq.heappush(self._later, (not_before, next(self._tie), request))

    def mature(self, now: float) -> int:
        """Put requests whose time has come back into their streams; returns how many."""
        later = self._later
        moved = 0
        while later and later[0][0] <= now:
            self._return(heapq.heappop(later)[2])
            moved += 1
        return moved

    def drop_stopped(self) -> int:
        """Forgo the waiting requests of stopped shards; returns how many."""
        waiting = [entry for entry in self._later if not entry[2].shard.stopped]
        dropped = [entry[2] for entry in self._later if entry[2].shard.stopped]
        heapq.heapify(waiting)
        self._later = waiting
        for stream in self._streams.values():
            dropped += [request for request in stream.returned if request.shard.stopped]
            stream.returned = deque(r for r in stream.returned if not r.shard.stopped)
        for request in dropped:
            request.shard.forgo()
        return len(dropped)

    def next_alone(self, lane: Round) -> Request | None:
        """A request of the first shard that is to be handled with care, when nothing is out."""
        shard = self.one_by_one[0]
        if self.out or not lane.serves(shard.order.model):
            return None
        stream = self._stream(shard)
        mine = next((r for r in stream.returned if r.shard is shard), None)
        if mine is not None:
            stream.returned.remove(mine)
        request = mine or shard.take()
        if request is None:
            return None
        try:
            shard.announce(request)
        except OSError as error:
            if not is_disk_full(error):
                raise
            stream.returned.appendleft(request)
            self._disk_full()
            return None
        self.out += 1
        return request

    def _stream(self, shard: OpenShard) -> Stream:
        order = shard.order
        key = (order.job_id, order.model)
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = Stream(order.model)
        return stream

    def _return(self, request: Request) -> None:
        stream = self._stream(request.shard)
        stream.returned.append(request)
        self._announce(stream)

    def _announce(self, stream: Stream) -> None:
        for each in self._rounds:
            each.join(stream)
