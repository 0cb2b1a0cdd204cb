"""Another program holds the database's write lock for longer than we wait for it."""

import json
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

from chaos.frame import Round, Scenario
from chaos.stage import Stage, stage
from chaos.user import order
from overnight.node import DATABASE_NAME
from support.batches import ENDPOINT, input_file
from support.polling import wait_for

BUSY_SECONDS = 5.0
"""How long a statement waits for the lock."""


def play(game: Round) -> None:
    chance = game.chance
    lease_seconds = chance.choice((3, 15))
    orders = [
        [order(chance, f"u{user}j{job}", chance.randint(500, 2_500)) for job in range(2)]
        for user in range(3)
    ]
    with stage(game, orders, lease_seconds=lease_seconds) as here:
        wait_for(lambda: here.recorder.count > 200, what="the sending")
        for _ in range(1 if game.brief else 2):
            time.sleep(chance.uniform(0.1, 1.0))
            block(here, BUSY_SECONDS + chance.uniform(2.0, 3.0), lease_seconds, game)
        here.end(game)


def block(here: Stage, seconds: float, lease_seconds: float, game: Round) -> None:
    """Whoever wants to write is told to come again; whoever reads is served."""
    beyond = seconds > lease_seconds
    game.tally.faults[f"database busy {'beyond' if beyond else 'within'} the lease"] += 1
    base_url, began = here.service.base_url, time.monotonic()
    with ThreadPoolExecutor() as users:
        with write_lock(here.service.data_dir):
            answers = [users.submit(refused, *request) for request in writing(base_url)]
            reading = status_of(urllib.request.Request(f"{base_url}/v1/batches"))
            assert reading[0] == 200, f"reading while the database is busy: {reading}"
            time.sleep(seconds)
        for answer in answers:
            answer.result()
    if beyond:
        # Workers may have given up; another begins with what the first had written down.
        here.troubles.spans.append((began, time.monotonic()))


def writing(base_url: str) -> list[tuple[str, urllib.request.Request]]:
    """Requests that need the write lock: an upload, a create."""
    boundary = "b0undary"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    )
    upload = head.encode() + input_file(["a"]) + f"\r\n--{boundary}--\r\n".encode()
    wish = {"input_file_id": "file-0", "endpoint": ENDPOINT, "completion_window": "24h"}
    kinds = {"content-type": f"multipart/form-data; boundary={boundary}"}
    return [
        ("upload", urllib.request.Request(f"{base_url}/v1/files", upload, kinds)),
        (
            "create",
            urllib.request.Request(
                f"{base_url}/v1/batches",
                json.dumps(wish).encode(),
                {"content-type": "application/json"},
            ),
        ),
    ]


def refused(what: str, request: urllib.request.Request) -> None:
    """As what is worth another try, and in a form that SDKs understand."""
    status, headers, body = status_of(request)
    assert status == 503, f"{what}: {status} {body!r}"
    assert "retry-after" in headers, f"{what}: {headers}"
    error = json.loads(body)["error"]
    assert error["message"], f"{what}: {body!r}"


def status_of(request: urllib.request.Request) -> tuple[int, dict[str, str], bytes]:
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, _lower(reply.headers.items()), reply.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, _lower(refusal.headers.items()), refusal.read()


def _lower(headers: "Iterator[tuple[str, str]] | list[tuple[str, str]]") -> dict[str, str]:
    return {name.lower(): value for name, value in headers}


@contextmanager
def write_lock(data_dir: Path) -> Iterator[None]:
    """As a backup tool or somebody's shell may hold it."""
    with closing(sqlite3.connect(data_dir / DATABASE_NAME, timeout=60)) as database:
        database.isolation_level = None
        database.execute("begin immediate")
        yield
        database.execute("rollback")


SCENARIOS = (Scenario("busy", play, seconds=30),)
