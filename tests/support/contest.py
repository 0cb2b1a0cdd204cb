"""A worker process that takes what it can get, to see whether two ever get the same."""

import sys
from collections.abc import Iterator
from pathlib import Path

from overnight.store import shards
from overnight.store.shards import ShardClaim
from support.store import Store, settlement


def contend(store: Store, worker: str) -> Iterator[list[str] | None]:
    """In each turn finish what the one before claimed, then claim more.

    Every third shard is released once before it is settled. Yields the `job/ordinal` of all that
    a turn settled, or None when there was nothing to do.
    """
    claims: list[ShardClaim] = []
    while True:
        spared = [claim for claim in claims if claim.ordinal % 3 == 0 and claim.epoch == 1]
        done = [settlement(claim) for claim in claims if claim not in spared]
        held = [(claim.job_id, claim.ordinal, claim.epoch) for claim in spared]
        refused = store.do(shards.release, worker, held)
        refused += store.do(shards.settle, worker, done, 2_100.0)
        if refused:
            raise AssertionError(f"somebody else wrote to {refused}, claimed by {worker}")
        had_claims = bool(claims)
        claims = store.do(shards.claim, worker, None, 3, 2_000.0)
        is_idle = not had_claims and not claims
        yield None if is_idle else [f"{shard.job_id}/{shard.ordinal}" for shard in done]


if __name__ == "__main__":
    turns = contend(Store(Path(sys.argv[1])), sys.argv[2])
    # A turn begins when a line comes in, so that all contenders begin theirs at once.
    for _ in sys.stdin:
        settled = next(turns)
        print("idle" if settled is None else " ".join(["settled", *settled]), flush=True)
