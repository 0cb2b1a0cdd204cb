"""A lane's slots and connections that end at bad moments, over real sockets."""

import asyncio
from collections import Counter

import pytest

from overnight.dispatch.dispatcher import Dispatcher, DispatchOptions
from overnight.dispatch.lane import LaneOptions
from overnight.dispatch.target import Target
from overnight.domain.request import OutcomeKind
from overnight.domain.retry import RetryPolicy
from overnight.seams import Seams
from support.memory_disk import MemoryDisk
from support.scripted import (
    CLOSE,
    RESET,
    End,
    Received,
    ScriptedUpstream,
    Step,
    Steps,
    reply,
    reply_chunked,
    reply_http_1_0,
)
from support.shards import open_shard, written

SUCCESS = OutcomeKind.SUCCESS


class Story:
    """Answers `/models`, then plays one list of steps per request, the last one for ever."""

    def __init__(self, *chapters: Steps, models: Steps | None = None) -> None:
        self._chapters = chapters
        self._models = models or reply(404)
        self.sent: list[Received] = []

    def __call__(self, request: Received) -> Steps:
        if request.method == "GET":
            return self._models
        self.sent.append(request)
        return self._chapters[min(len(self.sent), len(self._chapters)) - 1]


def send_all(story: Story, count: int, slots: int = 1) -> tuple[Counter[int], int]:
    """Send that many requests; returns outcomes by kind, and how many were charged and retried."""
    disk = MemoryDisk()

    async def main() -> int:
        async with ScriptedUpstream(story) as upstream:
            retry = RetryPolicy(backoff_first_seconds=0.001)
            dispatcher = Dispatcher(Seams(disk=disk), DispatchOptions(retry))
            async with asyncio.timeout(20), dispatcher.running():
                dispatcher.add_lane(LaneOptions(Target.parse(upstream.base_url), slots))
                dispatcher.open(open_shard(disk, count))
                await dispatcher.finished.get()
        return dispatcher.charged_retries

    retries = asyncio.run(main())
    return Counter(written(disk).values()), retries


@pytest.mark.parametrize(
    "models",
    [b"", b"<html>", b"[]", b'{"data": 7}', b'{"data": [{"id": "\xff"}]}', 100_000 * b"["],
    ids=["nothing", "a page", "a list", "no list", "no UTF-8", "too deep"],
)
def test_an_upstream_whose_list_of_models_is_none_takes_every_model(models: bytes) -> None:
    assert send_all(Story(reply(), models=reply(200, models)), 2) == ({SUCCESS: 2}, 0)


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_a_request_the_server_did_not_answer_on_a_kept_connection_is_sent_again_once(
    end: End,
) -> None:
    story = Story(reply(), [end], reply())
    assert send_all(story, 3) == ({SUCCESS: 3}, 0)
    first, unanswered, again, _ = story.sent
    assert unanswered.body == again.body
    assert first.connection == unanswered.connection != again.connection


def test_it_is_not_sent_a_third_time_for_nothing() -> None:
    story = Story(reply(), [CLOSE], [CLOSE], reply())
    assert send_all(story, 2) == ({SUCCESS: 2}, 1)
    assert len(story.sent) == 4


@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
def test_once_anything_came_back_it_is_a_failure_and_charged(begun: bytes) -> None:
    cut: list[Step] = [begun, CLOSE]
    story = Story(reply(), cut, reply())
    assert send_all(story, 2) == ({SUCCESS: 2}, 1)


def test_a_connection_closed_after_each_reply_costs_a_connection_each() -> None:
    story = Story(reply_http_1_0(b"{}"))
    assert send_all(story, 5) == ({SUCCESS: 5}, 0)
    assert len({request.connection for request in story.sent}) == 5


def test_a_kept_connection_serves_all_requests() -> None:
    story = Story(reply(), reply_chunked(b"{", b"}"))
    assert send_all(story, 50, slots=2) == ({SUCCESS: 50}, 0)
    assert len({request.connection for request in story.sent}) <= 2
    assert len({request.body for request in story.sent}) == 50


@pytest.mark.parametrize(
    "body",
    [
        b'{"usage":null}',
        b'{"usage":{"prompt_tokens":null}}',
        b'{"usage":{"prompt_tokens":-5,"completion_tokens":99999999999999999999}}',
        b'{"usage":"plenty"}',
        b'{\n"usage":\r\n{}}',
    ],
)
def test_an_answer_with_an_odd_usage_is_an_answer(body: bytes) -> None:
    assert send_all(Story(reply(200, body)), 1) == ({SUCCESS: 1}, 0)
