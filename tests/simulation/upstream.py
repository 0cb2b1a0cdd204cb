"""Upstreams that follow the seed: what they answer depends on the request and the try alone."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from simulation.history import Reply
from simulation.process import Process
from support.fake_network import Drop, Raw, Reaction, Respond, Sent, Silence

if TYPE_CHECKING:
    from simulation.machine import Machine

_KINDS: Final = (
    "error", "refusal", "overload", "rest", "drop", "cut", "garbage", "half json", "html",
    "silence", "twice", "dribble", "chunked", "unframed", "slow", "interim",
)  # fmt: skip
_CURT: Final[dict[str, Callable[[random.Random, float], Reaction]]] = {
    "silence": lambda *_: Silence(),
    "drop": lambda _, wait: Drop(wait),
    "overload": lambda chance, wait: Respond(
        chance.choice([429, 503]), b"{}", wait, retry_after="1.5"
    ),
    "rest": lambda chance, wait: Respond(chance.choice([429, 502, 503, 504]), b"", wait),
}
_PIECEWISE: Final = frozenset(
    {"dribble", "slow", "cut", "twice", "garbage", "chunked", "unframed", "interim"}
)
_NO_SUCCESS: Final = frozenset({"error", "refusal", "cut", "garbage", "half json", "html"})


@dataclass
class ScriptedUpstream:
    """`trouble` is how often something odd happens; `moods` are the odd things it does."""

    machine: "Machine"
    host: str
    trouble: float
    moods: tuple[str, ...]
    latency_seconds: float

    @classmethod
    def drawn(cls, machine: "Machine", host: str, chance: random.Random) -> "ScriptedUpstream":
        moods = tuple(chance.sample(_KINDS, chance.randint(1, 6)))
        trouble = chance.choice([0.0, 0.05, 0.3])
        return cls(machine, host, trouble, moods, chance.choice([0.02, 0.2, 1.0, 2.5]))

    def answer(self, sent: Sent) -> Reaction:
        process = sent.owner
        assert isinstance(process, Process)
        if not process.alive:
            return Silence()
        self.machine.history.sends(sent, process)
        chance = random.Random(f"{self.machine.seed}/{self.host}/{sent.number}/{sent.attempt}")
        kind = "plain"
        if not self.machine.healed and chance.random() < self.trouble:
            kind = chance.choice(self.moods)
            self.machine.history.counts[f"upstreams: {kind}"] += 1
        wait = chance.uniform(0.0, 2 * self.latency_seconds)
        if self.machine.healed:
            # Its last minutes are to show that all ends, not how long that takes.
            wait = min(wait, 0.1)
        return self._react(kind, sent, process, chance, wait)

    def _react(
        self, kind: str, sent: Sent, process: Process, chance: random.Random, wait: float
    ) -> Reaction:
        if kind in _CURT:
            return _CURT[kind](chance, wait)
        status, body = 200, _success(sent, chance)
        if kind == "error":
            status, body = 500, b'{"error":{"message":"ouch %d"}}' % sent.number
        elif kind == "refusal":
            status, body = 400, b'{"error":{"message":"bad %d"}}' % sent.number
        elif kind == "half json":
            body = body[: chance.randrange(len(body) - 1)]
        elif kind == "html":
            body = b"<html>200 OK</html>"
        if kind in _PIECEWISE:
            pieces = _pieces(kind, body, chance, wait * (5 if kind == "slow" else 1))
        else:
            pieces = [(wait, _framed(status, body))]

        def arrived() -> None:
            if kind not in ("cut", "garbage"):
                now = self.machine.loop.time()
                is_success = kind not in _NO_SUCCESS
                reply = Reply(now, process, status, body, is_success)
                self.machine.history.replied(sent.number, reply)

        return Raw(pieces, close=kind in ("cut", "unframed", "garbage"), arrived=arrived)


def _success(sent: Sent, chance: random.Random) -> bytes:
    text = chance.choice(["yes", "ünïcödé", "x" * chance.randint(1, 600), 'q"\\', "\u2028"])
    usage = {"prompt_tokens": chance.randint(0, 50), "completion_tokens": chance.randint(0, 50)}
    made = {"id": f"r{sent.number}-{sent.attempt}-{chance.random()}", "text": text, "usage": usage}
    spaced = (", ", ": ") if chance.random() < 0.5 else (",", ":")
    return json.dumps(made, ensure_ascii=chance.random() < 0.5, separators=spaced).encode()


def _framed(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d Fake\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def _pieces(
    kind: str, body: bytes, chance: random.Random, wait: float
) -> list[tuple[float, bytes]]:
    whole = _framed(200, body)
    match kind:
        case "cut":
            return [(wait, whole[: chance.randrange(len(whole))])]
        case "garbage":
            return [(wait, chance.randbytes(chance.randint(1, 200)))]
        case "twice":
            return [(wait, whole + whole)]
        case "unframed":
            return [(wait, b"HTTP/1.0 200 Fake\r\n\r\n" + body)]
        case "interim":
            return [(wait, b"HTTP/1.1 102 Processing\r\n\r\n"), (wait, whole)]
        case "chunked":
            size = chance.randint(1, 60)
            parts = [body[at : at + size] for at in range(0, len(body), size)]
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
            head = b"HTTP/1.1 200 Fake\r\nTransfer-Encoding: chunked\r\n\r\n"
            return [(wait, head), (0.0, chunks), (0.0, b"0\r\n\r\n")]
    cuts = sorted(chance.sample(range(1, len(whole)), chance.randint(1, 8)))
    ends = zip([0, *cuts], [*cuts, len(whole)], strict=True)
    return [(wait / 4, whole[start:end]) for start, end in ends]
