"""Which requests are sent again, and when."""

import pytest

from overnight.client.errors import Refused, Unreachable
from overnight.client.retries import Retries
from support.client import Waits, client_of
from support.scripted import CLOSE, RESET, Steps, reply, reply_json
from support.scripted_thread import scripted

JOB = reply_json({"id": "batch_1", "status": "in_progress"})


def waits_of(*answers: Steps) -> list[float]:
    """Of a GET that succeeds in the end."""
    waits = Waits()
    with scripted([*answers, JOB]) as server, client_of(server.base_url, waits=waits) as client:
        assert client.job("batch_1").id == "batch_1"
    assert len(server.requests) == len(answers) + 1
    return waits.seconds


@pytest.mark.parametrize(
    "passing",
    [reply(429), reply(502), reply(503), reply(504), [CLOSE], [RESET]],
    ids=["429", "502", "503", "504", "closed", "reset"],
)
def test_reading_goes_on_after_what_passes(passing: Steps) -> None:
    assert waits_of(passing, passing, passing) == [0.5, 1.0, 2.0]


def test_a_body_that_was_cut_is_read_again() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"
    assert waits_of([head, CLOSE]) == [0.5]


@pytest.mark.parametrize("status", [400, 401, 404, 409, 500, 501])
def test_a_final_answer_is_final(status: int) -> None:
    waits = Waits()
    with (
        scripted([reply(status), JOB]) as server,
        client_of(server.base_url, waits=waits) as client,
        pytest.raises(Refused),
    ):
        client.job("batch_1")
    assert waits.seconds == []


def test_it_gives_up_in_the_end() -> None:
    waits = Waits()
    with (
        scripted([reply(503)]) as server,
        client_of(server.base_url, waits=waits) as client,
        pytest.raises(Refused, match="503"),
    ):
        client.job("batch_1")
    assert len(server.requests) == 4
    assert waits.seconds == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0.25", 0.25),
        ("0", 0.0),
        ("Fri, 15 Jan 2027 08:00:12 GMT", 12.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("-3", 0.5),
        ("soon", 0.5),
        ("²", 0.5),
        ("", 0.5),
    ],
)
def test_a_server_is_given_the_time_it_asks_for(value: str, seconds: float) -> None:
    assert waits_of(reply(503, retry_after=value)) == [seconds]


def test_a_server_that_asks_for_hours_has_refused() -> None:
    waits = Waits()
    with (
        scripted([reply(429, retry_after="3600"), JOB]) as server,
        client_of(server.base_url, waits=waits) as client,
        pytest.raises(Refused, match="429"),
    ):
        client.job("batch_1")
    assert waits.seconds == []


@pytest.mark.parametrize("answer", [reply(502), reply(504), [CLOSE]], ids=["502", "504", "cut"])
def test_a_job_is_not_created_twice_on_a_guess(answer: Steps) -> None:
    with (
        scripted([answer, JOB]) as server,
        client_of(server.base_url) as client,
        pytest.raises((Refused, Unreachable)),
    ):
        client.create_job("file-1", "/v1/embeddings")
    assert len(server.requests) == 1


def test_waits_grow_to_a_limit_and_are_spread() -> None:
    late, soon = Retries(attempts=9, jitter=lambda: 1.0), Retries(attempts=9, jitter=lambda: 0.0)
    assert [late.backoff(tries) for tries in range(1, 10)] == [0.5, 1, 2, 4, 8, 8, 8, 8, None]
    assert [soon.backoff(tries) for tries in (1, 5)] == [0.25, 4.0]
