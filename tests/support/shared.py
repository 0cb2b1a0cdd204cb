"""One of a thing for all processes of a test run, made by whoever comes first."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest


@contextmanager
def shared(
    factory: pytest.TempPathFactory, name: str, made: AbstractContextManager[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """What `made` yields, JSON, in every process that is in here at the same time.

    The process that entered `made` leaves it last: it waits for the others. One that comes after
    that makes another.
    """
    is_worker = factory.getbasetemp().name.startswith("popen-")
    root = factory.getbasetemp().parent if is_worker else factory.getbasetemp()
    told = root / f"{name}.json"
    with (root / f"{name}.making").open("w") as making, (root / f"{name}.users").open("w") as users:
        fcntl.flock(making, fcntl.LOCK_EX)
        if told.exists():
            fcntl.flock(users, fcntl.LOCK_SH)
            fcntl.flock(making, fcntl.LOCK_UN)
            yield json.loads(told.read_text())
            return
        with made as value:
            told.write_text(json.dumps(value))
            fcntl.flock(making, fcntl.LOCK_UN)
            try:
                yield value
            finally:
                fcntl.flock(making, fcntl.LOCK_EX)
                told.unlink()
                fcntl.flock(making, fcntl.LOCK_UN)
                # Shared locks of the others; each ends with its process at the latest.
                fcntl.flock(users, fcntl.LOCK_EX)
