"""The feed hands out each request as often as it comes back, and to each job its share."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from overnight.dispatch.feed import Feed, Round
from overnight.dispatch.segment import begin_segment
from overnight.dispatch.shard import OpenShard, Request
from overnight.domain.request import Failure, FailureKind, OutcomeKind, Success
from support.memory_disk import MemoryDisk
from support.shards import FOLDER, open_shard, written

SUCCESS = Success(200, None, b"{}")


def never() -> None:
    raise AssertionError("the disk is not full")


def take(lane: Round, count: int) -> list[Request]:
    taken = [lane.next() for _ in range(count)]
    return [request for request in taken if request is not None]


def names(requests: list[Request]) -> list[tuple[str, int]]:
    return [(request.shard.order.job_id, request.line_number) for request in requests]


# Fairness


def test_jobs_take_turns() -> None:
    disk, feed = MemoryDisk(), Feed(never)
    lane = feed.round(None)
    feed.open(open_shard(disk, 4, job="a"))
    feed.open(open_shard(disk, 2, job="b"))
    feed.open(open_shard(disk, 3, job="c"))
    assert [job for job, _ in names(take(lane, 20))] == list("abcabcaca")


def test_a_new_job_is_served_at_once_although_a_large_one_runs() -> None:
    disk, feed = MemoryDisk(), Feed(never)
    lane = feed.round(None)
    feed.open(open_shard(disk, 1_000, job="large"))
    take(lane, 500)
    feed.open(open_shard(disk, 3, job="small"))
    assert Counter(job for job, _ in names(take(lane, 6))) == {"large": 3, "small": 3}


def test_requests_of_a_job_go_in_their_order_over_its_shards() -> None:
    disk, feed = MemoryDisk(), Feed(never)
    lane = feed.round(None)
    feed.open(open_shard(disk, 2, ordinal=0))
    feed.open(open_shard(disk, 2, ordinal=1))
    assert [number for _, number in names(take(lane, 9))] == [1, 2, 1_001, 1_002]


@given(st.lists(st.integers(1, 30), min_size=2, max_size=5), st.integers(1, 60))
def test_no_job_is_ever_two_requests_ahead_of_another_that_waits(
    sizes: list[int], taken: int
) -> None:
    disk, feed = MemoryDisk(), Feed(never)
    lane = feed.round(None)
    for number, size in enumerate(sizes):
        feed.open(open_shard(disk, size, job=f"job_{number}"))
    served = Counter(job for job, _ in names(take(lane, taken)))
    waiting = [number for number, size in enumerate(sizes) if served[f"job_{number}"] < size]
    for number in waiting:
        assert max(served.values()) - served[f"job_{number}"] <= 1


def test_lanes_get_only_what_they_serve() -> None:
    disk, feed = MemoryDisk(), Feed(never)
    only_a, anything, nothing = (feed.round(m) for m in (frozenset("a"), None, frozenset("z")))
    feed.open(open_shard(disk, 2, model="a"))
    feed.open(open_shard(disk, 2, model="b", job="other"))
    assert nothing.next() is None
    assert names(take(only_a, 5)) == [("batch_0a", 1), ("batch_0a", 2)]
    assert names(take(anything, 5)) == [("other", 1), ("other", 2)]


def test_a_lane_that_learns_of_a_model_gets_its_requests() -> None:
    disk, feed = MemoryDisk(), Feed(never)
    lane = feed.round(frozenset())
    feed.open(open_shard(disk, 2))
    assert lane.next() is None
    feed.serve(lane, frozenset("m"))
    assert len(take(lane, 5)) == 2


def test_a_lane_that_left_is_told_nothing() -> None:
    disk, feed = MemoryDisk(), Feed(never)
    lane = feed.round(None)
    feed.leave(lane)
    feed.open(open_shard(disk, 2))
    assert lane.next() is None


def test_a_closed_feed_hands_out_nothing() -> None:
    disk, feed = MemoryDisk(), Feed(never)
    lane = feed.round(None)
    feed.open(open_shard(disk, 2))
    feed.closed = True
    assert lane.next() is None


# Again


def test_what_comes_back_is_the_next() -> None:
    disk, feed = MemoryDisk(), Feed(never)
    lane = feed.round(None)
    feed.open(open_shard(disk, 3))
    first, _ = take(lane, 2)
    feed.back(first)
    assert lane.next() is first
    assert feed.out == 2


def test_a_retry_waits_here_and_no_slot_with_it() -> None:
    disk, feed = MemoryDisk(), Feed(never)
    lane = feed.round(None)
    feed.open(open_shard(disk, 2))
    first = take(lane, 1)[0]
    feed.again(first, not_before=10.0)
    assert feed.out == 0
    assert [request.line_number for request in take(lane, 5)] == [2]
    assert feed.mature(9.9) == 0
    assert lane.next() is None
    assert feed.mature(10.0) == 1
    assert lane.next() is first


def test_retries_mature_in_the_order_of_their_times() -> None:
    disk, feed = MemoryDisk(), Feed(never)
    lane = feed.round(None)
    feed.open(open_shard(disk, 3))
    for request, moment in zip(take(lane, 3), (3.0, 1.0, 2.0), strict=True):
        feed.again(request, moment)
    assert feed.mature(2.5) == 2
    assert [request.line_number for request in take(lane, 5)] == [2, 3]


def test_a_stopped_shard_gets_nothing_sent_and_lacks_only_what_is_out() -> None:
    disk, feed = MemoryDisk(), Feed(never)
    lane = feed.round(None)
    shard = open_shard(disk, 6)
    feed.open(shard)
    out, back, later = take(lane, 3)
    feed.back(back)
    feed.again(later, 5.0)
    shard.stop()
    assert feed.drop_stopped() == 2
    assert shard.lacking == 1
    assert feed.mature(6.0) == 0
    assert lane.next() is None
    feed.back(out)
    assert shard.lacking == 0


# One by one


def test_a_careful_shard_is_sent_alone() -> None:
    disk, feed = MemoryDisk(), Feed(never)
    lane = feed.round(None)
    feed.open(open_shard(disk, 3, job="other"))
    other = take(lane, 1)[0]
    careful = open_shard(disk, 2, one_by_one=True)
    feed.open(careful)
    assert lane.next() is None
    finish(feed, other)
    first = take(lane, 5)
    assert names(first) == [("batch_0a", 1)]
    assert lone_sendings(disk) == {1: 1}
    finish(feed, first[0])
    assert names(take(lane, 5)) == [("batch_0a", 2)]


def test_a_careful_request_that_came_back_goes_first_and_alone() -> None:
    disk, feed = MemoryDisk(), Feed(never)
    lane = feed.round(None)
    careful = open_shard(disk, 2, one_by_one=True)
    feed.open(careful)
    first = take(lane, 1)[0]
    careful.spare(first)
    feed.back(first)
    assert take(lane, 5) == [first]
    assert lone_sendings(disk) == {1: 1}


def test_after_a_careful_shard_all_goes_on() -> None:
    disk, feed = MemoryDisk(), Feed(never)
    lane = feed.round(None)
    careful = open_shard(disk, 1, one_by_one=True)
    feed.open(careful)
    feed.open(open_shard(disk, 3, job="other"))
    finish(feed, take(lane, 5)[0])
    assert lane.next() is None
    feed.close(careful)
    assert len(take(lane, 5)) == 3


def test_a_request_that_can_not_be_announced_is_kept_for_later() -> None:
    disk, told = MemoryDisk(), list[bool]()
    feed = Feed(lambda: told.append(True))
    lane = feed.round(None)
    feed.open(open_shard(disk, 2, one_by_one=True))
    disk.full = True
    assert lane.next() is None
    assert told == [True]
    assert feed.out == 0
    disk.full = False
    assert names(take(lane, 5)) == [("batch_0a", 1)]
    assert lone_sendings(disk) == {1: 1}


def lone_sendings(disk: MemoryDisk) -> dict[int, int]:
    _, index = begin_segment(disk, FOLDER / "batch_0a", 0, 2)
    return {number: times for number, times in index.lone_sendings.items() if times}


def finish(feed: Feed, request: Request) -> None:
    request.shard.succeed(request, SUCCESS)
    request.shard.flush()
    feed.out -= 1


# Nothing lost, nothing twice


class Feeding(RuleBasedStateMachine):
    """Any order of taking, finishing, failing, retrying, opening and stopping."""

    @initialize()
    def begin(self) -> None:
        self.disk = MemoryDisk()
        self.feed = Feed(never)
        self.lanes = [self.feed.round(frozenset("ab")), self.feed.round(frozenset("b"))]
        self.shards: list[OpenShard] = []
        self.out: list[Request] = []
        self.now = 0.0
        self.done: Counter[tuple[str, int]] = Counter()

    @rule(count=st.integers(1, 6), model=st.sampled_from("ab"), job=st.sampled_from("xy"))
    def open(self, count: int, model: str, job: str) -> None:
        shard = open_shard(
            self.disk, count, job=f"job_{job}", model=model, ordinal=len(self.shards)
        )
        self.shards.append(shard)
        self.feed.open(shard)

    @rule(which=st.integers(0, 1))
    def take(self, which: int) -> None:
        request = self.lanes[which].next()
        if request is not None:
            assert not any(request is other for other in self.out)
            assert self.lanes[which].serves(request.shard.order.model)
            assert not request.shard.stopped
            self.out.append(request)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        request = self._one_out(data)
        self.feed.out -= 1
        request.shard.succeed(request, SUCCESS)
        self.done[request.shard.order.job_id, request.line_number] += 1

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def fail_for_good(self, data: st.DataObject) -> None:
        request = self._one_out(data)
        self.feed.out -= 1
        request.shard.fail(request, Failure(FailureKind.TIMEOUT, ""))
        self.done[request.shard.order.job_id, request.line_number] += 1

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def send_back(self, data: st.DataObject) -> None:
        self.feed.back(self._one_out(data))

    @precondition(lambda self: self.out)
    @rule(data=st.data(), wait=st.floats(0, 10))
    def try_again_later(self, data: st.DataObject, wait: float) -> None:
        request = self._one_out(data)
        if request.shard.stopped:  # the dispatcher asks before it tries again
            self.feed.out -= 1
            request.shard.forgo()
        else:
            self.feed.again(request, self.now + wait)

    @rule(wait=st.floats(0, 10))
    def wait(self, wait: float) -> None:
        self.now += wait
        self.feed.mature(self.now)

    @precondition(lambda self: self.shards)
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.shards)).stop()
        self.feed.drop_stopped()

    @invariant()
    def the_books_balance(self) -> None:
        if hasattr(self, "feed"):
            assert self.feed.out == len(self.out)
            assert all(count == 1 for count in self.done.values())

    def teardown(self) -> None:
        """Send everything that is left: then no shard lacks anything but what was stopped."""
        if not hasattr(self, "feed"):
            return
        for request in self.out:
            self.feed.back(request)
        self.out.clear()
        self.feed.mature(self.now + 100)
        for lane in self.lanes:
            while (left := lane.next()) is not None:
                left.shard.succeed(left, SUCCESS)
                self.done[left.shard.order.job_id, left.line_number] += 1
        assert max(self.done.values(), default=1) == 1
        for shard in self.shards:
            assert shard.lacking == 0
            shard.flush()
            outcomes = written(self.disk, job=shard.order.job_id, ordinal=shard.order.ordinal)
            assert outcomes.keys() == {
                number
                for job, number in self.done
                if job == shard.order.job_id and number // 1_000 == shard.order.ordinal
            }

    def _one_out(self, data: st.DataObject) -> Request:
        return self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))


TestFeeding = Feeding.TestCase
TestFeeding.settings = settings(max_examples=40)


def test_lone_deaths_bury_a_request_only_at_the_second() -> None:
    disk = MemoryDisk()
    for epoch, expected in ((1, {}), (2, {}), (3, {1: OutcomeKind.FAILURE})):
        shard = open_shard(disk, 2, epoch=epoch, one_by_one=True)
        shard.flush()
        assert written(disk) == expected
        if expected:
            assert (shard.unsent, shard.lacking, shard.failed) == (1, 1, 1)
            return
        feed = Feed(never)
        feed.open(shard)
        assert feed.round(None).next() is not None  # and here the worker dies
