"""An upstream that knows what it was asked, what it answered to that, and when."""

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from support.scripted import Note, Pause, Received, Steps, reply, reply_json
from support.scripted_thread import scripted

MODELS = {"object": "list", "data": [{"id": "sim", "object": "model"}]}


@dataclass(slots=True)
class Sending:
    """A request as it arrived, once. Times are of the monotonic clock."""

    began: float
    status: int
    body: bytes
    """Of the reply; unlike every other."""
    ended: float | None = None
    """When the reply was written; None if it never was."""


@dataclass(slots=True)
class Recorder:
    """Answers each request after a while, and a share of them with a failure at first."""

    seed: int
    latency_seconds: tuple[float, float] = (0.005, 0.04)
    error_rate: float = 0.0
    base_url: str = ""
    """With `/v1`."""
    sendings: dict[str, list[Sending]] = field(default_factory=dict)
    """By what was said, which tells requests apart."""
    count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: Received) -> Steps:
        if request.method == "GET":
            return reply_json(MODELS)
        said = str(json.loads(request.body)["messages"][0]["content"]).rstrip()
        with self._lock:
            before = self.sendings.setdefault(said, [])
            chance = random.Random(f"{self.seed} {said} {len(before)}")
            sending = self._sending(said, fails=chance.random() < self.error_rate)
            before.append(sending)
        pause = Pause(chance.uniform(*self.latency_seconds))
        return [pause, *reply(sending.status, sending.body), Note(lambda: _end(sending))]

    def _sending(self, said: str, *, fails: bool) -> Sending:
        self.count += 1
        now = time.monotonic()
        if fails:
            error = {"error": {"message": f"failure {self.count}"}}
            return Sending(now, 500, json.dumps(error).encode())
        message = {"role": "assistant", "content": f"{said} #{self.count}"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
        body = {"id": f"c-{self.count}", "model": "sim", "choices": [choice], "usage": usage}
        return Sending(now, 200, json.dumps(body, separators=(",", ":")).encode())

    @property
    def in_flight(self) -> int:
        """Not answered yet, or never."""
        with self._lock:
            return sum(one.ended is None for sent in self.sendings.values() for one in sent)


def _end(sending: Sending) -> None:
    sending.ended = time.monotonic()


@contextmanager
def recording(recorder: Recorder) -> Iterator[Recorder]:
    with scripted(recorder.answer) as server:
        recorder.base_url = server.base_url
        yield recorder
