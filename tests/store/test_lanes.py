from overnight.store import lanes, workers
from overnight.store.lanes import LaneClaim, LaneReport, LaneRow, LaneSpec
from support.store import Store


def specs(*urls: str, count: int = 1) -> list[LaneSpec]:
    return [LaneSpec(url, number) for url in urls for number in range(count)]


def claimed(store: Store, worker: str, limit: int = 99) -> list[tuple[str, int]]:
    return [(lane.url, lane.number) for lane in store.do(lanes.claim, worker, limit, 1.0)]


def register(store: Store, *names: str, role: str = "worker") -> None:
    for name in names:
        store.do(workers.register, name, role, 0.0, 15.0)


def report(claim: LaneClaim, models: list[str] | None) -> LaneReport:
    return LaneReport(claim.url, claim.number, claim.epoch, models, True, "is busy", 44.5)


def test_lanes_are_those_of_the_configuration(store: Store) -> None:
    register(store, "w1")
    store.do(lanes.sync, specs("http://a", "http://b"))
    store.do(lanes.claim, "w1", 2, 1.0)
    store.do(lanes.sync, specs("http://b", "http://c"))
    found = [(lane.url, lane.number, lane.worker) for lane in store.do(lanes.all)]
    assert found == [("http://b", 0, "w1"), ("http://c", 0, None)]
    store.do(lanes.sync, [])
    assert store.do(lanes.all) == []


def test_a_lane_has_one_holder(store: Store) -> None:
    register(store, "w1")
    store.do(lanes.sync, specs("http://a", count=2))
    assert claimed(store, "w1", 1) == [("http://a", 0)]
    assert claimed(store, "w2", 1) == [("http://a", 1)]
    assert claimed(store, "w3", 1) == []


def test_a_worker_takes_its_share_and_first_of_every_upstream(store: Store) -> None:
    register(store, "w1", "w2")
    register(store, "clerk", role="clerk")
    store.do(workers.register, "lapsed", "worker", -20.0, -5.0)
    store.do(lanes.sync, specs("http://a", "http://b", "http://c", count=3))
    assert claimed(store, "w1") == [
        ("http://a", 0),
        ("http://b", 0),
        ("http://c", 0),
        ("http://a", 1),
        ("http://b", 1),
    ]
    assert claimed(store, "w1") == []
    assert len(claimed(store, "w2")) == 4


def test_an_heir_knows_that_it_took_over(store: Store) -> None:
    register(store, "w1")
    store.do(lanes.sync, specs("http://a"))
    (first,) = store.do(lanes.claim, "w1", 1, 1.0)
    assert first == LaneClaim("http://a", 0, 1, taken_over=False)
    store.do(workers.reclaim, ["w1"], 1.0)
    assert store.do(lanes.claim, "w2", 1, 1.0) == [LaneClaim("http://a", 0, 3, taken_over=True)]
    store.do(workers.leave, "w2")
    assert store.do(lanes.claim, "w3", 1, 1.0) == [LaneClaim("http://a", 0, 4, taken_over=False)]


def test_reports_are_kept_and_tell_what_was_lost(store: Store) -> None:
    register(store, "w1")
    store.do(lanes.sync, specs("http://a", "http://b"))
    first, second = store.do(lanes.claim, "w1", 2, 1.0)
    seen = [report(first, ["m", "n"]), report(second, None)]
    assert store.do(lanes.report, "w1", seen) == set()
    assert store.do(lanes.all) == [
        LaneRow("http://a", 0, "w1", 1, ["m", "n"], True, "is busy", 44.5),
        LaneRow("http://b", 0, "w1", 1, None, True, "is busy", 44.5),
    ]
    store.do(lanes.sync, specs("http://b"))
    assert store.do(lanes.report, "w1", seen) == {("http://a", 0)}
    store.do(workers.reclaim, ["w1"], 1.0)
    assert store.do(lanes.report, "w1", seen) == {("http://a", 0), ("http://b", 0)}
    (again,) = store.do(lanes.claim, "w2", 1, 1.0)
    assert store.do(lanes.report, "w1", [report(again, [])]) == {("http://b", 0)}


def test_a_report_under_a_claim_of_the_past_is_refused(store: Store) -> None:
    register(store, "w1")
    store.do(lanes.sync, specs("http://a"))
    (past,) = store.do(lanes.claim, "w1", 1, 1.0)
    store.do(workers.reclaim, ["w1"], 1.0)
    (present,) = store.do(lanes.claim, "w1", 1, 1.0)
    assert store.do(lanes.report, "w1", [report(past, ["old"])]) == {("http://a", 0)}
    assert store.do(lanes.report, "w1", [report(present, ["new"])]) == set()
