"""Jobs and files as all kinds of servers spell them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.client.errors import ClientError
from overnight.client.reading import Fields, listed
from overnight.client.server import Address, Server
from overnight.client.shapes import file_view, job_view
from overnight.client.views import STATUSES, JobView, LineFault
from support.client import client_of
from support.scripted import Received, Steps, reply_json
from support.scripted_thread import scripted


def read(status: str = "completed", **fields: object) -> JobView:
    return job_view(Fields(fields), "batch_1", status)


def test_an_openai_job_is_read() -> None:
    job = read(
        endpoint="/v1/embeddings",
        input_file_id="file-1",
        output_file_id="file-2",
        error_file_id=None,
        created_at=100,
        completed_at=160,
        expires_at=86500,
        failed_at=None,
        request_counts={"total": 10, "completed": 7, "failed": 1},
        usage={"input_tokens": 5, "output_tokens": 6, "total_tokens": 11},
        metadata={"team": "a", "n": 3},
        model="m",
        retries=4,
        waiting_for=None,
        errors=None,
    )
    assert job == JobView(
        id="batch_1",
        status="completed",
        endpoint="/v1/embeddings",
        input_file_id="file-1",
        output_file_id="file-2",
        created_at=100.0,
        deadline=86500.0,
        ended_at=160.0,
        total=10,
        succeeded=7,
        failed=1,
        percent=80.0,
        prompt_tokens=5,
        completion_tokens=6,
        retries=4,
        model="m",
        metadata={"team": "a"},
    )


def test_a_together_job_is_read() -> None:
    job = read(
        "CANCELLED",
        created_at="2026-01-01T00:00:00.123456789Z",
        completed_at="2026-01-01 00:01:00",
        job_deadline="2026-01-02T01:00:00+01:00",
        progress=12.5,
        model_id="m",
        error="it was too much",
    )
    start = 1_767_225_600.0
    assert (job.status, job.percent, job.model) == ("cancelled", 12.5, "m")
    assert job.created_at == pytest.approx(start + 0.123456)
    assert (job.ended_at, job.deadline) == (start + 60, start + 86400)
    assert job.failure == "it was too much"
    assert job.ended


@pytest.mark.parametrize("status", ["CANCELING", "CANCELLING", "canceling", "cancelling"])
def test_both_spellings_are_one_status(status: str) -> None:
    job = read(status, completed_at=5)
    assert (job.status, job.ended, job.ended_at) == ("cancelling", False, None)


@pytest.mark.parametrize("status", sorted(STATUSES))
def test_the_end_of_a_job_is_the_time_named_for_it(status: str) -> None:
    times = {f"{name}_at": float(at) for at, name in enumerate(sorted(STATUSES))}
    job = read(status, **times)
    assert job.ended_at == (times[f"{status}_at"] if job.ended else None)


def test_faults_are_told_apart_from_a_failure() -> None:
    data = [
        {"code": "invalid_json_line", "message": "no", "line": 3, "param": None, "excerpt": "{"},
        {"code": "token_limit_exceeded", "message": "full", "line": None},
        {"code": "job_failed", "message": "the disk is full", "line": None},
    ]
    job = read("failed", errors={"object": "list", "data": data, "total": 40}, error="3 faults")
    assert job.faults == (
        LineFault("invalid_json_line", "no", 3, excerpt="{"),
        LineFault("token_limit_exceeded", "full"),
    )
    assert job.fault_count == 40
    assert job.failure == "the disk is full"
    assert read("failed", errors={"data": data[:1]}, error="1 fault").failure is None


def test_little_is_enough() -> None:
    assert read("queued") == JobView("batch_1", "queued")
    assert file_view(Fields({}), "file-1").name == ""


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
)
_NAMES = [
    *("request_counts", "usage", "errors", "metadata", "progress", "model", "error", "retries"),
    *("created_at", "expires_at", "job_deadline", "completed_at", "endpoint", "filename", "bytes"),
]
_COUNTS = st.dictionaries(st.sampled_from(["total", "completed", "failed", "data"]), _JSON)


@given(st.dictionaries(st.sampled_from(_NAMES), _JSON | _COUNTS))
def test_fields_of_any_type_do_no_harm(values: dict[str, object]) -> None:
    job = job_view(Fields(values), "batch_1", "COMPLETED")
    file_view(Fields(values), "file-1")
    assert job.total is None or isinstance(job.total, int)
    assert job.created_at is None or abs(job.created_at) < 1e15
    assert all(isinstance(value, str) for value in job.metadata.values())


def test_lists_come_bare_and_wrapped() -> None:
    for reply in ([{"id": "a"}], {"data": [{"id": "a"}]}):
        assert [item.text("id") for item in listed(reply)] == ["a"]
    for reply in ({}, {"data": None}, None, []):
        assert listed(reply) == []


def jobs_of(script: list[Steps], *, limit: int | None = None) -> tuple[list[str], list[str]]:
    with scripted(script) as server, client_of(server.base_url) as client:
        ids = [job.id for job in client.jobs(limit=limit)]
    return ids, [request.target for request in server.requests]


def rows(*ids: str, **more: object) -> Steps:
    return reply_json({"data": [{"id": name, "status": "completed"} for name in ids]} | more)


def test_pages_are_asked_for_after_the_last() -> None:
    ids, targets = jobs_of([rows("c", "b", has_more=True), rows("a", has_more=False)])
    assert ids == ["c", "b", "a"]
    assert targets == ["/v1/batches?limit=100", "/v1/batches?limit=100&after=b"]


def test_no_more_pages_are_asked_for_than_needed() -> None:
    ids, targets = jobs_of([rows("c", "b", has_more=True)], limit=2)
    assert (ids, targets) == (["c", "b"], ["/v1/batches?limit=2"])


@pytest.mark.parametrize("more", [{"has_more": True}, {}])
def test_a_server_without_paging_is_asked_twice_at_most(more: dict[str, object]) -> None:
    ids, targets = jobs_of([rows("b", "a", **more)])
    assert ids == ["b", "a"]
    assert len(targets) == 2


def test_a_together_list_is_put_newest_first() -> None:
    items = [
        {"id": "old", "status": "COMPLETED", "created_at": "2026-01-01T00:00:00Z"},
        {"id": "new", "status": "COMPLETED", "created_at": "2026-01-02T00:00:00Z"},
        {"id": "timeless", "status": "COMPLETED"},
    ]
    with scripted([reply_json(items)]) as server, client_of(server.base_url, "together") as client:
        assert [job.id for job in client.jobs(limit=2)] == ["new", "old"]


@pytest.mark.parametrize(
    ("given", "url", "name", "spelling"),
    [
        ("http://h:1", "http://h:1/v1", "http://h:1", "openai"),
        ("http://h:1/v1/", "http://h:1/v1", "http://h:1", "openai"),
        (" https://h/a/b/v1 ", "https://h/a/b/v1", "https://h/a/b", "openai"),
        ("https://me:pw@h", "https://me:pw@h/v1", "https://h", "openai"),
        ("http://[::1]:8", "http://[::1]:8/v1", "http://[::1]:8", "openai"),
        (
            "https://a.together.xyz/v1",
            "https://a.together.xyz/v1",
            "https://a.together.xyz",
            "together",
        ),
        ("https://together.ai", "https://together.ai/v1", "https://together.ai", "together"),
        ("https://nottogether.ai", "https://nottogether.ai/v1", "https://nottogether.ai", "openai"),
        ("http://h/together", "http://h/together/v1", "http://h/together", "together"),
    ],
)
def test_base_urls_are_understood(given: str, url: str, name: str, spelling: str) -> None:
    address = Address.of(Server(given))
    assert (address.url, address.name, address.spelling) == (url, name, spelling)


@pytest.mark.parametrize(
    "given",
    [
        *("", "localhost:8024", "ftp://h", "http://", "http://h:port", "http://h?a=b"),
        *("http://[::1", "http://a..b", f"http://{64 * 'a'}", "http://a\x7f", "http://☃☃.-x"),
    ],
)
def test_what_is_no_base_url_is_refused_with_one_that_is(given: str) -> None:
    with pytest.raises(ClientError, match="is not a base URL") as failure:
        Address.of(Server(given))
    assert "http://" in (failure.value.hint or "")


@pytest.mark.parametrize(
    "value", [1.8e12, -1e14, 253402300799.9999999, "9999-12-31T23:59:59-23:00", True, float("nan")]
)
def test_what_is_no_time_is_unknown(value: object) -> None:
    """Milliseconds among them, which some servers tell."""
    assert read(created_at=value).created_at is None


def test_a_password_is_sent_and_not_shown() -> None:
    def answer(request: Received) -> Steps:
        return reply_json({"error": {"message": "no"}}, 403)

    with (
        scripted(answer) as server,
        client_of(f"http://me:pass-word@127.0.0.1:{server.port}") as client,
        pytest.raises(ClientError) as failure,
    ):
        client.job("batch_1")
    assert server.requests[0].headers["authorization"].startswith("Basic ")
    assert "pass-word" not in failure.value.message
