"""What a batch is created with, in both dialects, and creates that come again."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from overnight.domain.job import Job, JobEvent
from overnight.service.submission import JobsOptions, MetadataLimits
from overnight.store import jobs as job_rows
from overnight.store.tables import jobs as jobs_table
from support.api_server import TOGETHER, ApiServer, Reply, form

CHAT = "/v1/chat/completions"
RETRY = {"x-stainless-retry-count": "1"}
DIALECTS = [{}, TOGETHER]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with ApiServer(tmp_path, api_keys=("one", "two")) as running:
        yield running


def key(name: str = "one") -> dict[str, str]:
    return {"authorization": f"Bearer {name}"}


class Client:
    """Creates batches of one file with one key."""

    def __init__(self, server: ApiServer, name: str = "one", **headers: str) -> None:
        self.server = server
        self.headers = key(name) | headers
        self.file_id = upload(server, name)

    def create(self, headers: Mapping[str, str] = {}, **changes: object) -> Reply:
        body = {"input_file_id": self.file_id, "endpoint": CHAT} | changes
        return self.server.post_json("/v1/batches", body, self.headers | dict(headers))

    def created(self, headers: Mapping[str, str] = {}, **changes: object) -> str:
        reply = self.create(headers, **changes)
        assert reply.status in (200, 201), reply
        batch: Any = reply.json()
        return str(batch.get("job", batch)["id"])

    def job(self, job_id: str) -> Job:
        return self.server.store(lambda tx: job_rows.get(tx, job_id))


def upload(server: ApiServer, name: str = "one", data: bytes = b"{}\n") -> str:
    body, headers = form({"purpose": "batch"}, data)
    return str(server.ask("POST", "/openai/v1/files", body, headers | key(name)).at("id"))


def count(server: ApiServer) -> int:
    return server.store(lambda tx: len(tx.execute(jobs_table.select()).all()))


def move_back(server: ApiServer, seconds: float) -> None:
    """As if all jobs had been created that much earlier."""
    column = jobs_table.c.created_at
    server.store(lambda tx: tx.execute(jobs_table.update().values(created_at=column - seconds)))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_endpoint_may_lack_its_version(server: ApiServer, dialect: dict[str, str]) -> None:
    client = Client(server, **dialect)
    assert client.job(client.created(endpoint="/chat/completions")).endpoint == CHAT
    for wrong in ("chat/completions", "/v1/v1/chat/completions", "/v1/rerank"):
        refused = client.create(endpoint=wrong)
        assert (refused.status, refused.at("error", "param")) == (400, "endpoint")
        assert CHAT in str(refused.at("error", "message"))
    audio = client.create(endpoint="/v1/audio/transcriptions")
    assert "audio, can not be run yet" in str(audio.at("error", "message"))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_window_is_24h_or_nothing(server: ApiServer, dialect: dict[str, str]) -> None:
    client = Client(server, **dialect)
    for window in ({}, {"completion_window": "24h"}, {"completion_window": None}):
        job = client.job(client.created(**window))
        assert job.completion_window == "24h"
        assert job.deadline == job.created_at + 86_400
    refused = client.create(completion_window="36h")
    assert (refused.status, refused.at("error", "param")) == (400, "completion_window")
    assert "any_completion_window" in str(refused.at("error", "message"))


def test_other_windows_by_setting(tmp_path: Path) -> None:
    options = JobsOptions(window_seconds=100.0, any_window=True)
    with ApiServer(tmp_path, api_keys=("one",), jobs=options) as server:
        client = Client(server)
        for window, seconds in (("36h", 129_600), ("7d", 604_800), ("90m", 5_400), ("24h", 100)):
            reply = client.create(completion_window=window)
            assert reply.at("completion_window") == window
            job = client.job(str(reply.at("id")))
            assert job.deadline == job.created_at + seconds
        refused = client.create(completion_window="15d")
        assert refused.at("error", "param") == "completion_window"
        assert "1h to 14d" in str(refused.at("error", "message"))


def test_together_names_a_model_and_a_priority(server: ApiServer) -> None:
    client = Client(server, **TOGETHER)
    created = client.create(model_id="m", priority=7)
    assert (created.status, created.at("job", "model_id")) == (201, "m")
    job = client.job(str(created.at("job", "id")))
    assert (job.model, job.priority) == ("m", 7)
    assert client.job(client.created(model_id=None, priority=None)).model is None


def test_together_is_warned_of_what_will_keep_the_job_from_running(server: ApiServer) -> None:
    client = Client(server, **TOGETHER)
    assert client.create().at("warning") == "This batch is waiting: no clerk is running."
    client.file_id = upload(server, data=b"")
    assert client.create().at("warning") == "The input file is empty, so this batch will fail."


def test_the_lifetime_of_results_is_kept_with_the_job(server: ApiServer) -> None:
    client = Client(server)
    lifetime = {"anchor": "created_at", "seconds": 3_600}
    job = client.job(client.created(output_expires_after=lifetime))
    assert job.output_expires_after_seconds == 3_600
    assert client.job(client.created()).output_expires_after_seconds is None
    for wrong, param in (
        ({"anchor": "created_at", "seconds": 3_599}, "output_expires_after.seconds"),
        ({"anchor": "created_at", "seconds": 2_592_001}, "output_expires_after.seconds"),
        ({"anchor": "last_active_at", "seconds": 3_600}, "output_expires_after.anchor"),
        ({"seconds": 3_600}, "output_expires_after.anchor"),
    ):
        refused = client.create(output_expires_after=wrong)
        assert (refused.status, refused.at("error", "param")) == (400, param)


def test_limits_are_settings(tmp_path: Path) -> None:
    options = JobsOptions(alive_max=2, metadata=MetadataLimits(pairs_max=1, value_max=3))
    with ApiServer(tmp_path, api_keys=("one", "two"), jobs=options) as server:
        client = Client(server)
        for metadata, said in (({"a": "", "b": ""}, "at most 1 "), ({"a": "1234"}, "at most 3 ")):
            assert said in str(client.create(metadata=metadata).at("error", "message"))
        first, _ = client.created(), client.created(metadata={"a": "123"})
        refused = client.create()
        assert (refused.status, refused.headers["x-should-retry"]) == (409, "false")
        assert refused.at("error", "code") == "too_many_batches"
        assert "limits.jobs_alive_max" in str(refused.at("error", "message"))
        Client(server, "two").created()
        server.ask("POST", f"/v1/batches/{first}/cancel", headers=key())
        client.created()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_create_that_comes_again_gets_the_same_answer(
    server: ApiServer, dialect: dict[str, str]
) -> None:
    client = Client(server, **dialect)
    first = client.create(completion_window="24h")
    again = client.create(RETRY, completion_window="24h")
    assert (again.status, again.json()) == (first.status, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert count(server) == 1


def test_only_what_is_sent_again_is_taken_for_the_same(server: ApiServer) -> None:
    client = Client(server)
    ids = [
        client.created(),
        client.created(),
        client.created({"x-stainless-retry-count": "0"}),
        client.created({"x-stainless-retry-count": "x"}),
        client.created(RETRY, metadata={"another": "wish"}),
        client.created(RETRY | {"x-overnight-line-rules": "together"}),
    ]
    assert len(set(ids)) == count(server) == 6
    assert client.created({"x-stainless-retry-count": "2"}) == ids[3]


def test_another_key_makes_another_job(server: ApiServer) -> None:
    first, second = Client(server), Client(server, "two")
    assert first.created() != second.created(RETRY)
    assert first.created({"idempotency-key": "k"}) != second.created({"idempotency-key": "k"})


def test_a_job_that_was_cancelled_is_no_answer_to_a_retry(server: ApiServer) -> None:
    client = Client(server)
    first = client.created()
    server.ask("POST", f"/v1/batches/{first}/cancel", headers=key())
    assert client.created(RETRY) != first


def test_a_retry_is_known_for_a_quarter_of_an_hour(server: ApiServer) -> None:
    client = Client(server)
    first = client.created()
    move_back(server, 890)
    assert client.created(RETRY) == first
    move_back(server, 20)
    assert client.created(RETRY) != first


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_idempotency_key_makes_one_job(server: ApiServer, dialect: dict[str, str]) -> None:
    client = Client(server, **dialect)
    named = {"idempotency-key": "k" * 255}
    first = client.created(named)
    move_back(server, 86_000)
    again = client.create(named)
    assert (again.headers["idempotent-replayed"], client.created(named)) == ("true", first)
    other = client.create(named, endpoint="/v1/embeddings")
    assert (other.status, other.headers["x-should-retry"]) == (409, "false")
    assert (other.at("error", "code"), other.at("error", "param")) == (
        "idempotency_key_reused",
        "idempotency-key",
    )
    assert first in str(other.at("error", "message"))
    assert count(server) == 1
    for wrong in ("", "k" * 256):
        refused = client.create({"idempotency-key": wrong})
        assert (refused.status, refused.at("error", "param")) == (400, "idempotency-key")


def test_an_idempotency_key_can_be_used_again_after_a_day(server: ApiServer) -> None:
    client = Client(server)
    named = {"idempotency-key": "k"}
    first = client.created(named)
    move_back(server, 86_400)
    second = client.created(named, endpoint="/v1/embeddings")
    assert second != first
    assert client.created(named, endpoint="/v1/embeddings") == second


def test_a_repeated_create_needs_neither_the_file_nor_room(tmp_path: Path) -> None:
    with ApiServer(tmp_path, api_keys=("one",), jobs=JobsOptions(alive_max=1)) as server:
        client = Client(server)
        first = client.created({"idempotency-key": "k"})
        assert client.created({"idempotency-key": "k"}) == first
        end = JobEvent.DEADLINE_PASSED
        server.store(lambda tx: job_rows.advance(tx, first, end, 1.0))
        assert server.ask("DELETE", f"/v1/files/{client.file_id}", headers=key()).status == 200
        assert client.created({"idempotency-key": "k"}) == first


@pytest.mark.parametrize("dialect", DIALECTS)
def test_cancelling_twice_is_fine_and_too_late_is_not(
    server: ApiServer, dialect: dict[str, str]
) -> None:
    client = Client(server, **dialect)
    path = f"/v1/batches/{client.created()}/cancel"
    for _ in range(2):
        assert str(server.ask("POST", path, headers=client.headers).at("status")).lower() == (
            "cancelled"
        )
    ended = client.created()
    server.store(lambda tx: job_rows.advance(tx, ended, JobEvent.DEADLINE_PASSED, 1.0))
    refused = server.ask("POST", f"/v1/batches/{ended}/cancel", headers=client.headers)
    assert (refused.status, refused.headers["x-should-retry"]) == (409, "false")


def test_pages_have_one_to_a_hundred_batches(server: ApiServer) -> None:
    client = Client(server)
    ids = [client.created(metadata={"n": str(n)}) for n in range(3)]
    same_time = jobs_table.update().values(created_at=5.0)
    server.store(lambda tx: tx.execute(same_time))
    seen: list[object] = []
    after = ""
    while len(seen) < 9:
        page = server.ask("GET", f"/v1/batches?limit=1{after}", headers=key())
        seen.append(page.at("data", 0, "id"))
        if not page.at("has_more"):
            break
        after = f"&after={page.at('last_id')}"
    assert seen == sorted(ids, reverse=True)
    everything = server.ask("GET", "/v1/batches", headers=key() | TOGETHER).json()
    assert isinstance(everything, list)
    assert {batch["id"] for batch in everything} == set(ids)
    for limit in ("0", "101", "x"):
        refused = server.ask("GET", f"/v1/batches?limit={limit}", headers=key())
        assert (refused.status, refused.at("error", "param")) == (400, "limit")
