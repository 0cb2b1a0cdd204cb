"""Lists of files while files come and go: whoever goes on page by page misses none that stays."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overnight.store import files
from support.store import Store, new_file

SOON, LATE = 1_000.0, 2_000.0

removals = st.lists(st.sets(st.integers(0, 11), max_size=4), max_size=14)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    times=st.lists(st.integers(0, 4), min_size=12, max_size=12),
    limit=st.integers(1, 5),
    ascending=st.booleans(),
    removals=removals,
    purged=st.booleans(),
)
def test_a_walk_sees_each_file_that_stays_once(
    store: Store,
    times: list[int],
    limit: int,
    ascending: bool,
    removals: list[set[int]],
    purged: bool,
) -> None:
    store.do(lambda tx: tx.exec_driver_sql("DELETE FROM files"))
    for number, at in enumerate(times):
        store.do(files.add, new_file(f"f{number:02}", created_at=float(at)))
    gone: set[int] = set()
    seen: list[str] = []
    after, more = None, True
    while more:
        page, more = store.do(files.page, "local", None, after, limit, ascending)
        seen += [file.id for file in page]
        after = seen[-1] if seen else None
        for number in (removals.pop() if removals else set()) - gone:
            store.do(files.forget, f"f{number:02}", SOON)
            gone.add(number)
        if purged:
            store.do(files.purged, [f"f{number:02}" for number in gone], LATE)
    assert len(seen) == len(set(seen))
    assert {f"f{number:02}" for number in range(12) if number not in gone} <= set(seen)
    order = [(times[int(name[1:])], name) for name in seen]
    assert order == sorted(order, reverse=not ascending)
