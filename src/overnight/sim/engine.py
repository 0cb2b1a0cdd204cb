"""The engine: routes, faults, latency and what was seen."""

import asyncio
import struct
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlsplit

import msgspec
import xxhash

from overnight.domain.errors import CallerFault, InvalidRequest, NotFound
from overnight.sim.connection import Connection, Reply, Request
from overnight.sim.ledger import Ledger
from overnight.sim.options import SimOptions
from overnight.sim.replies import Endpoint, Responder

BACKLOG = 4096
"""A dispatcher opens all its connections at once."""


class SimEngine:
    """Answers on one address. `requests_served` counts by path what inference was asked for."""

    def __init__(self, options: SimOptions | None = None) -> None:
        self.options = options or SimOptions()
        self.connections: set[Connection] = set()
        self.requests_served: Counter[str] = Counter()
        self._responder = Responder(self.options.models)
        self._endpoints = self._responder.endpoints
        self._ledger = Ledger()
        self._requests = self._distinct = self._repeated = 0
        self._in_flight = self._most_in_flight = 0
        self._by_status: Counter[int] = Counter()
        low, high = self.options.latency_ms
        self._low_seconds, self._spread_seconds = low / 1000, (high - low) / 1000
        rate = self.options.tokens_per_second
        self._seconds_per_token = 1 / rate if rate else 0.0
        self._drawing = high > 0 or self.options.error_rate > 0
        self._pages: dict[bytes, Callable[[], bytes]] = {
            b"/v1/models": lambda: self._responder.model_list,
            b"/health": lambda: b'{"status":"ok"}',
            b"/sim/stats": lambda: msgspec.json.encode(self.stats()),
        }
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Returns the port, which is a free one if 0 was asked for. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self), host, port, backlog=BACKLOG
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Drops all connections, whatever they wait for."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self.connections):
            connection.abort()
        await self._server.wait_closed()
        self._server = None

    def times_received(self, body: bytes) -> int:
        """How often an inference endpoint was sent exactly these bytes; stops at 127."""
        return self._ledger.times_received(self._digest(body))

    def stats(self) -> dict[str, int | dict[str, int]]:
        """`repeated` are requests received again after they had been answered with success."""
        return {
            "requests": self._requests,
            "distinct": self._distinct,
            "repeated": self._repeated,
            "in_flight": self._in_flight,
            "most_in_flight": self._most_in_flight,
            "by_status": {str(status): n for status, n in sorted(self._by_status.items())},
            "by_endpoint": dict(self.requests_served),
        }

    def reply_to(self, request: Request) -> Reply:
        path = request.target
        if path not in self._endpoints:  # exact matches, all but every request, need no parsing
            path = _path_of(path)
        endpoint = self._endpoints.get(path)
        if endpoint is not None and request.method == b"POST" and request.fault is None:
            return self._infer(request, path, endpoint)
        return self._reply_elsewhere(request, path)

    def ended(self, reply: Reply, *, sent: bool) -> None:
        if reply.digest is None:
            return
        self._in_flight -= 1
        if sent:
            self._by_status[reply.status] += 1
            if reply.status == 200:
                self._ledger.answer(reply.digest)

    def _infer(self, request: Request, path: bytes, endpoint: Endpoint) -> Reply:
        digest = self._digest(request.body)
        receipt = self._ledger.receive(digest)
        self._count(path, new=receipt.times == 1, repeated=receipt.answered_before)
        request_id = b"req_%016x_%d" % (digest, receipt.times)
        status, delay_seconds = self._draw(digest, receipt.times) if self._drawing else (200, 0.0)
        if status != 200:
            body = _error(status, f"Simulated fault on attempt {receipt.times}.", "simulated_fault")
        else:
            try:
                body, tokens = endpoint(request.body, digest)
                delay_seconds += tokens * self._seconds_per_token
            except CallerFault as fault:
                status, body = _refusal(fault)
        data = _message(status, request_id, body, request)
        return Reply(data, status, delay_seconds, digest)

    def _count(self, path: bytes, *, new: bool, repeated: bool) -> None:
        self.requests_served[path.decode()] += 1
        self._requests += 1
        self._distinct += new
        self._repeated += repeated
        self._in_flight += 1
        self._most_in_flight = max(self._most_in_flight, self._in_flight)

    def _draw(self, digest: int, times: int) -> tuple[int, float]:
        """Status and seconds of one attempt, from 24 bits of chance each."""
        dice = xxhash.xxh3_64_intdigest(struct.pack("<QI", digest, times))
        delay_seconds = self._low_seconds + self._spread_seconds * (dice >> 40) / (1 << 24)
        if (dice & 0xFFFFFF) >= self.options.error_rate * (1 << 24):
            return 200, delay_seconds
        return (500 if dice >> 24 & 1 else 503), delay_seconds

    def _reply_elsewhere(self, request: Request, path: bytes) -> Reply:
        """Everything that is not a well-formed call of an inference endpoint."""
        request_id = b"req_%016x" % self._digest(request.target)
        try:
            status, body = 200, self._page(request, path)
        except CallerFault as fault:
            status, body = _refusal(fault)
        return Reply(_message(status, request_id, body, request), status)

    def _page(self, request: Request, path: bytes) -> bytes:
        if request.fault is not None:
            raise request.fault
        page = self._pages.get(path)
        if page is not None and request.method in (b"GET", b"HEAD"):
            return page()
        name = path.decode(errors="replace")
        if page is not None or path in self._endpoints:
            allowed = "POST" if page is None else "GET"
            raise InvalidRequest(f"{name} takes {allowed} only.", code="method_not_allowed")
        raise NotFound(f"There is nothing at {name}.", code="unknown_url")

    def _digest(self, body: bytes) -> int:
        return xxhash.xxh3_64_intdigest(body, self.options.seed)


def _path_of(target: bytes) -> bytes:
    """Without query; the target may be a whole URL. What is no URL is its own path."""
    try:
        return urlsplit(target).path or target
    except ValueError:
        return target


_STATUS_OF_CODE = {
    "model_not_found": 404,
    "unknown_url": 404,
    "method_not_allowed": 405,
    "body_too_large": 413,
}


def _refusal(fault: CallerFault) -> tuple[int, bytes]:
    status = _STATUS_OF_CODE.get(fault.code, 400)
    return status, _error(status, fault.message, fault.code, fault.param)


def _error(status: int, message: str, code: str, param: str | None = None) -> bytes:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return msgspec.json.encode(
        {"error": {"message": message, "type": kind, "param": param, "code": code}}
    )


_HEADS = {
    status.value: (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "content-type: application/json\r\nserver: overnight-sim\r\n"
    ).encode()
    + b"x-request-id: %b\r\n%bcontent-length: %d\r\n\r\n"
    for status in map(HTTPStatus, (200, 400, 404, 405, 413, 500, 503))
}


def _message(status: int, request_id: bytes, body: bytes, request: Request) -> bytes:
    connection = b"" if request.keep_alive else b"connection: close\r\n"
    head = _HEADS[status] % (request_id, connection, len(body))
    return head if request.method == b"HEAD" else head + body
