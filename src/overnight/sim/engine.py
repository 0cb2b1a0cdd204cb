"""The engine: routes, faults, latency and what was seen."""

import asyncio
import struct
from collections import Counter
from collections.abc import Callable
from typing import TypedDict
from urllib.parse import urlsplit

import msgspec
import xxhash

from overnight import __version__
from overnight.domain.errors import CallerFault, ConfigurationError, InvalidRequest, NotFound
from overnight.sim.batch import Batch, Pace, Sequence
from overnight.sim.connection import Connection, Reply, Request
from overnight.sim.faults import (
    CUT,
    GARBAGE,
    SLOW,
    Faults,
    checked_faults,
    fault_at,
    status_of,
)
from overnight.sim.kv_cache import KvCache, block_names
from overnight.sim.ledger import Ledger
from overnight.sim.messages import faulty, message, metrics_message, refusal
from overnight.sim.metrics import Finished, Gauges, Metrics
from overnight.sim.options import SimOptions
from overnight.sim.replies import Answer, Endpoint, Responder, prompt_of
from overnight.sim.timed_batch import TimedBatch

BACKLOG = 4096
"""A dispatcher opens all its connections at once."""


class Stats(TypedDict):
    requests: int
    distinct: int
    repeated: int
    """Received again after they had been answered with success."""
    in_flight: int
    most_in_flight: int
    prompt_tokens: int
    generation_tokens: int
    by_status: dict[str, int]
    by_endpoint: dict[str, int]
    by_fault: dict[str, int]


class SimEngine:
    """Answers on one address. `requests_served` counts by path what inference was asked for."""

    def __init__(self, options: SimOptions | None = None) -> None:
        self.options = options or SimOptions()
        self.connections: set[Connection] = set()
        self._served: Counter[bytes] = Counter()
        self.faults_made: Counter[str] = Counter()
        self._responder = Responder(self.options)
        self._endpoints = self._responder.endpoints
        self._ledger = Ledger()
        self._metrics = Metrics(self.options.models[0])
        self._requests = self._distinct = self._repeated = 0
        self._in_flight = self._most_in_flight = 0
        self._by_status: Counter[int] = Counter()
        low, high = self.options.latency_ms
        self._low_seconds, self._spread_seconds = low / 1000, (high - low) / 1000
        rate = self.options.tokens_per_second
        self._seconds_per_token = 1 / rate if rate else 0.0
        self._always_drawing = high > 0 or self.options.error_rate > 0
        self._set_faults(self.options.faults)
        self._timed: TimedBatch | None = None
        self._pages: dict[bytes, Callable[[], bytes]] = {
            b"/v1/models": lambda: self._responder.model_list,
            b"/health": lambda: b"",
            b"/version": lambda: msgspec.json.encode({"version": __version__}),
            b"/metrics": lambda: self._metrics.text(self._gauges()).encode(),
            b"/sim/stats": lambda: msgspec.json.encode(self.stats()),
            b"/sim/faults": lambda: msgspec.json.encode(dict(self._faults)),
        }
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Returns the port, which is a free one if 0 was asked for. Raises `OSError`."""
        self._begin()
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self), host, port, backlog=BACKLOG
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def start_unix(self, path: str) -> None:
        """Listen on a Unix socket instead, in the place of one that a dead process left there.
        Raises `OSError`.
        """
        self._begin()
        self._server = await asyncio.get_running_loop().create_unix_server(
            lambda: Connection(self), path, backlog=BACKLOG
        )

    def _begin(self) -> None:
        if self.options.is_batching:
            self._timed = TimedBatch(_batch(self.options))

    async def stop(self) -> None:
        """Drops all connections, whatever they wait for."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self.connections):
            connection.abort()
        await self._server.wait_closed()
        if self._timed is not None:
            self._timed.close()
        self._server = None

    @property
    def requests_served(self) -> Counter[str]:
        return Counter({path.decode(): n for path, n in self._served.items()})

    def times_received(self, body: bytes) -> int:
        """How often an inference endpoint was sent exactly these bytes; stops at 127."""
        return self._ledger.times_received(self._digest(body))

    def stats(self) -> Stats:
        return {
            "requests": self._requests,
            "distinct": self._distinct,
            "repeated": self._repeated,
            "in_flight": self._in_flight,
            "most_in_flight": self._most_in_flight,
            "prompt_tokens": self._metrics.prompt_tokens,
            "generation_tokens": self._metrics.tokens,
            "by_status": {str(status): n for status, n in sorted(self._by_status.items())},
            "by_endpoint": self.requests_served,
            "by_fault": dict(self.faults_made),
        }

    def reply_to(self, request: Request) -> Reply:
        path = request.target
        if path not in self._endpoints:  # exact matches, all but every request, need no parsing
            path = _path_of(path)
        endpoint = self._endpoints.get(path)
        if endpoint is not None and request.method == b"POST" and request.fault is None:
            return self._infer(request, path, endpoint)
        return self._reply_elsewhere(request, path)

    def work(self, sequence: Sequence, done: Callable[[], None]) -> None:
        if self._timed is not None:
            self._timed.add(sequence, done)

    def ended(self, reply: Reply, *, sent: bool) -> None:
        if reply.digest is None:
            return
        self._in_flight -= 1
        if not sent:
            self._metrics.aborted()
            if reply.sequence is not None and self._timed is not None:
                self._timed.remove(reply.sequence)
            return
        self._by_status[reply.status] += 1
        if reply.answer is not None:
            self._ledger.answer(reply.digest)
            if reply.sequence is None:
                answer, done = reply.answer, reply.delay_seconds
                first = done - max(answer.tokens - 1, 0) * self._seconds_per_token
                self._metrics.finished(
                    (answer.prompt_tokens, answer.tokens, answer.cut, 0.0, first, done)
                )
            else:
                self._metrics.finished(_timings(reply.sequence, reply.answer))

    def _infer(self, request: Request, path: bytes, endpoint: Endpoint) -> Reply:
        digest = self._digest(request.body)
        times, answered_before = self._ledger.receive(digest)
        self._count(path, new=times == 1, repeated=answered_before)
        request_id = b"req_%016x_%d" % (digest, times)
        fault, delay_seconds = self._draw(digest, times) if self._drawing else (None, 0.0)
        if fault is not None:
            self.faults_made[fault] += 1
            if fault not in (SLOW, CUT):
                status, body = faulty(fault, times)
                data = message(status, request_id, body, request)
                spoilt = None if status_of(fault) or fault == GARBAGE else fault
                return Reply(data, status, delay_seconds, digest, fault=spoilt)
        try:
            answer = endpoint(request.body, digest)
        except CallerFault as refused:
            status, body = refusal(refused)
            return Reply(message(status, request_id, body, request), status, delay_seconds, digest)
        data = message(200, request_id, answer.body, request)
        if self._timed is not None:
            sequence = self._sequence(answer, delay_seconds)
            return Reply(data, 200, 0.0, digest, answer, sequence, fault)
        delay_seconds += answer.tokens * self._seconds_per_token
        return Reply(data, 200, delay_seconds, digest, answer, None, fault)

    def _sequence(self, answer: Answer, overhead_seconds: float) -> Sequence:
        names: tuple[int, ...] = ()
        if self.options.kv_cache_tokens is not None:
            names = block_names(prompt_of(answer.request))
        return Sequence(answer.prompt_tokens, answer.tokens, overhead_seconds, names)

    def _count(self, path: bytes, *, new: bool, repeated: bool) -> None:
        self._served[path] += 1
        self._requests += 1
        self._distinct += new
        self._repeated += repeated
        self._in_flight += 1
        self._most_in_flight = max(self._most_in_flight, self._in_flight)

    def _draw(self, digest: int, times: int) -> tuple[str | None, float]:
        """Fault and seconds of one attempt, from 24 bits of chance each."""
        rate = self.options.error_rate
        dice = xxhash.xxh3_64_intdigest(struct.pack("<QI", digest, times))
        delay_seconds = self._low_seconds + self._spread_seconds * (dice >> 40) / (1 << 24)
        chance = (dice & 0xFFFFFF) / (1 << 24)
        if chance < rate:
            return ("500" if dice >> 24 & 1 else "503"), delay_seconds
        return fault_at(self._faults, chance - rate), delay_seconds

    def _gauges(self) -> Gauges:
        if self._timed is None:
            return Gauges(self._in_flight, 0, 0.0, 0, 0, 0)
        batch = self._timed.batch
        counts = batch.counts
        return Gauges(
            *(len(batch.running), len(batch.waiting), self._timed.cache_usage()),
            *(counts.preemptions, counts.prefix_queries, counts.prefix_hits),
        )

    def _reply_elsewhere(self, request: Request, path: bytes) -> Reply:
        """Everything that is not a well-formed call of an inference endpoint."""
        request_id = b"req_%016x" % self._digest(request.target)
        try:
            status, body = 200, self._page(request, path)
        except CallerFault as fault:
            status, body = refusal(fault)
        if path == b"/metrics" and status == 200:
            return Reply(metrics_message(request_id, body, request), status)
        return Reply(message(status, request_id, body, request), status)

    def _page(self, request: Request, path: bytes) -> bytes:
        if request.fault is not None:
            raise request.fault
        if path == b"/sim/faults" and request.method == b"POST":
            self._set_faults(_faults_in(request.body))
        page = self._pages.get(path)
        if page is not None and (request.method in (b"GET", b"HEAD") or path == b"/sim/faults"):
            return page()
        name = path.decode(errors="replace")
        if page is not None or path in self._endpoints:
            allowed = "POST" if page is None else "GET"
            raise InvalidRequest(f"{name} takes {allowed} only.", code="method_not_allowed")
        raise NotFound(f"There is nothing at {name}.", code="unknown_url")

    def _set_faults(self, faults: Faults) -> None:
        """Instead of those there were, from the next request on."""
        self._faults = faults
        self._drawing = self._always_drawing or bool(faults)

    def _digest(self, body: bytes) -> int:
        return xxhash.xxh3_64_intdigest(body, self.options.seed)


def _timings(sequence: Sequence, answer: Answer) -> Finished:
    since = sequence.arrived
    done = sequence.finished - since
    first = sequence.first_token - since if answer.tokens else done
    return answer.prompt_tokens, answer.tokens, answer.cut, sequence.admitted - since, first, done


def _batch(options: SimOptions) -> Batch:
    """A step of a batch of one lasts 1 / tokens_per_second, and more sequences make it longer.

    So much longer that all of them together approach `total_tokens_per_second`.
    """
    alone, total = options.tokens_per_second, options.total_tokens_per_second
    per_sequence = 1 / total if total else 0.0
    reading = options.prefill_tokens_per_second
    pace = Pace(
        step=1 / alone - per_sequence if alone else 0.0,
        per_sequence=per_sequence,
        per_prompt_token=1 / reading if reading else 0.0,
    )
    cache = None if options.kv_cache_tokens is None else KvCache(options.kv_cache_tokens)
    return Batch(pace, options.max_num_seqs, cache)


def _faults_in(body: bytes) -> Faults:
    try:
        return checked_faults(msgspec.json.decode(body, type=dict[str, float]))
    except (ValueError, ConfigurationError) as error:  # bad UTF-8 is a ValueError of its own
        raise InvalidRequest(
            f'Give kinds of faults and their rates, such as {{"503": 0.05}}: {error}.'
        ) from None


def _path_of(target: bytes) -> bytes:
    """Without query; the target may be a whole URL. What is no URL is its own path."""
    try:
        return urlsplit(target).path or target
    except ValueError:
        return target
