"""A worker process that takes what it can get, to see whether two ever get the same."""

import sys
from pathlib import Path

from overnight.domain.errors import Unavailable
from overnight.store import shards
from support.store import Store, settlement


def contend(path: Path, worker: str) -> list[str]:
    """Claim and settle until nothing is left; every third shard is released once instead.

    Begins when its input ends, so that all contenders do at once. Returns the `job/ordinal` of
    everything it settled.
    """
    store = Store(path)
    print("ready", flush=True)
    sys.stdin.read()
    settled: list[str] = []
    while claims := store.do(shards.claim, worker, None, 3, 2_000.0):
        spared = [claim for claim in claims if claim.ordinal % 3 == 0 and claim.epoch == 1]
        done = [settlement(claim) for claim in claims if claim not in spared]
        held = [(claim.job_id, claim.ordinal, claim.epoch) for claim in spared]
        if store.do(shards.release, worker, held) or store.do(shards.settle, worker, done, 2_100.0):
            raise AssertionError("somebody else wrote to what this worker had claimed")
        settled += [f"{claim.job_id}/{claim.ordinal}" for claim in done]
    store.close()
    return settled


if __name__ == "__main__":
    try:
        print("\n".join(contend(Path(sys.argv[1]), sys.argv[2])))
    except Unavailable as error:
        sys.exit(f"the database was busy for too long: {error}")
