"""Blocks of memory: shared by name, kept for a while, never lost."""

from hypothesis import given
from hypothesis import strategies as st

from overnight.sim.kv_cache import BLOCK_TOKENS, KvCache, block_names, blocks_of


def test_prompts_that_begin_alike_share_their_leading_blocks() -> None:
    beginning = " ".join(f"word{n}" for n in range(2 * BLOCK_TOKENS))
    one, two = (
        block_names(f"{beginning} and {'x ' * 40}"),
        block_names(f"{beginning} or {'x ' * 40}"),
    )
    assert one[:2] == two[:2]
    assert set(one[2:]).isdisjoint(two[2:])
    assert len(block_names(beginning)) == 1, "the last token is always computed"
    assert block_names("short") == ()


def test_a_name_counts_for_all_before_it() -> None:
    block = " ".join(["same"] * BLOCK_TOKENS)
    first, second, third = block_names(f"{block} {block} {block} end")
    assert len({first, second, third}) == 3


def test_what_nobody_uses_is_kept_until_its_place_is_needed() -> None:
    cache = KvCache(4 * BLOCK_TOKENS)
    assert cache.reserve((1, 2), 1)
    cache.release((1, 2), 1)
    assert (cache.hits((1, 2, 3)), cache.usage) == (2, 0)
    assert cache.reserve((7, 8, 9), 0)
    assert (cache.hits((1, 2)), cache.usage) == (1, 0.75), "the end goes first"
    assert not cache.reserve((), 2)
    assert not cache.reserve((), 1, spare=1)
    assert cache.reserve((), 1)
    assert (cache.hits((1,)), cache.available) == (0, 0)


def test_blocks_are_counted_up() -> None:
    assert [blocks_of(n) for n in (0, 1, 16, 17)] == [0, 1, 1, 2]


names = st.lists(st.integers(1, 9), unique=True, max_size=6).map(tuple)


@given(st.lists(st.tuples(names, st.integers(0, 5), st.booleans()), max_size=60))
def test_no_block_is_lost_or_made(wishes: list[tuple[tuple[int, ...], int, bool]]) -> None:
    cache = KvCache(12 * BLOCK_TOKENS)
    held: list[tuple[tuple[int, ...], int]] = []
    for wanted, unnamed, give_back in wishes:
        if give_back and held:
            cache.release(*held.pop(0))
        before = cache.available
        if cache.reserve(wanted, unnamed):
            held.append((wanted, unnamed))
            assert cache.hits(wanted) == len(wanted)
        else:
            assert cache.available == before
        in_use = {name for named, _ in held for name in named}
        assert cache.available == 12 - len(in_use) - sum(rest for _, rest in held) >= 0
    for one in held:
        cache.release(*one)
    assert (cache.available, cache.usage) == (12, 0)
