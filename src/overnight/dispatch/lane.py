"""A lane: the right to send to one upstream, its slots, and what is known of the upstream.

One slot is one connection and one long-lived coroutine: take a request, send it, hand over what
came of it, again. A slot with nothing to do is parked until something changes.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from overnight.dispatch.complaint import error_text
from overnight.dispatch.feed import Feed
from overnight.dispatch.health import Health
from overnight.dispatch.http1 import Answer, Connection, Reply, Stale, Timeouts, open_connection
from overnight.dispatch.inflow import Inflow
from overnight.dispatch.reply import judge, spellings, without
from overnight.dispatch.shard import Request
from overnight.dispatch.target import Target
from overnight.domain.request import Failure, FailureKind, Outcome
from overnight.seams import Connect

MODELS_EVERY_SECONDS: Final = 60.0
MODELS_TIMEOUT_SECONDS: Final = 10.0
_CAN_NOT_LIST: Final = frozenset({500, 501})
"""Some engines serve requests well and only fail to list models: `transformers serve`, with a
model from a folder. What a gateway says while its engine is away (502, 503, 504) is not this."""


class LaneOptions(msgspec.Struct, frozen=True):
    target: Target
    max_in_flight: int = 128
    models: frozenset[str] | None = None
    """Configured models; None: ask the upstream for its list."""
    timeouts: Timeouts = Timeouts()
    reply_bytes_max: int = 64 * 1024 * 1024
    lanes: int = 1
    """Into how many the right to send to this upstream is divided."""

    def of_lane(self, number: int) -> "LaneOptions":
        """Those of one of its lanes, numbered from 0: what all may have in flight together is
        never more than the whole.
        """
        share, rest = divmod(self.max_in_flight, self.lanes)
        return msgspec.structs.replace(self, max_in_flight=share + (number < rest), lanes=1)


class _Model(msgspec.Struct):
    id: str


class _ModelList(msgspec.Struct):
    data: list[_Model] = []


_model_list: Final = msgspec.json.Decoder(_ModelList)

ABORTED: Final = Failure(FailureKind.RESET, "The request was aborted.")
"""What comes of a request that we ended ourselves; it says nothing of the upstream."""

Finish = Callable[["Lane", Request, Outcome], None]


class Lane:
    def __init__(self, options: LaneOptions, feed: Feed, connect: Connect, inflow: Inflow) -> None:
        self.options = options
        self.health = Health()
        self.models = options.models
        """What the upstream serves; None is anything, once it has `answered`."""
        self.answered = options.models is not None
        self.listed = False
        """It answered when it was last asked for its models."""
        self.held_back = False
        """Sends nothing for a reason of ours: the disk is full."""
        self.probe: Request | None = None
        self.finished = 0
        """Outcomes so far."""
        self.pace = 0
        """Outcomes in the last tick."""
        self.secrets = spellings(options.target.api_key or "")
        """What no failure may tell: the job's owner is not the operator."""
        self._finished_before = 0
        self.slots: list[Slot] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._connect = connect
        self._inflow = inflow
        self._loop = asyncio.get_running_loop()
        self._parked: list[asyncio.Future[None]] = []
        self._answered_slots: list[Slot] = []
        self.heads: dict[str, bytes] = {}
        self._round = feed.round(options.models if self.answered else frozenset())
        self._feed = feed

    @property
    def url(self) -> str:
        return self.options.target.url

    def free_for_work(self, now: float) -> bool:
        """Could a request be sent, if there were one?"""
        if not self.answered or self.held_back:
            return False
        return self.health.paused_until is None or self.health.probe_due(now)

    def trouble(self, now: float) -> str:
        """Why nothing is sent to it, in one sentence; empty when all is well."""
        health = self.health
        if health.paused_until is not None:
            left = max(0.0, health.paused_until - now)
            return f"waiting: upstream {self.url} {health.reason}, next try in {left:.0f} s"
        return "" if self.answered else f"waiting: asking upstream {self.url} for its models"

    def serves(self, model: str) -> bool:
        return self.answered and (self.models is None or model in self.models)

    def head(self, endpoint: str) -> bytes:
        """The request head for an endpoint, which all its requests share."""
        head = self.heads[endpoint] = self.options.target.post_head(endpoint.removeprefix("/v1"))
        return head

    def take(self) -> Request | None:
        """The next request to send, or None when this lane has to wait."""
        if self.held_back:
            return None
        health = self.health
        if health.paused_until is None:
            return self._round.next()
        if not health.admits(self._loop.time()):
            return None
        self.probe = self._round.next()
        if self.probe is None:
            health.unsent()
        return self.probe

    def follow_up(self, slot: "Slot") -> None:
        """Have a slot send its next request together with all others that were answered by now.

        One burst of sending wakes the upstream once, where each by itself would wake it each time.
        """
        if not self._answered_slots:
            self._loop.call_soon(self._send_burst)
        self._answered_slots.append(slot)

    def _send_burst(self) -> None:
        slots, self._answered_slots = self._answered_slots, []
        for slot in slots:
            slot.follow_up()

    async def park(self) -> None:
        waiter = self._loop.create_future()
        self._parked.append(waiter)
        await waiter

    def wake(self, slots: int | None = None) -> None:
        """Let parked slots look again: the given number of them, or all."""
        parked = self._parked
        wanted = len(parked) if slots is None else min(slots, len(parked))
        for _ in range(wanted):
            waiter = parked.pop()
            if not waiter.done():
                waiter.set_result(None)

    def tick(self, now: float) -> None:
        """Enforce deadlines, and send a probe when one is due."""
        for slot in self.slots:
            if slot.connection is not None:
                slot.connection.sweep(now)
        self.pace = self.finished - self._finished_before
        self._finished_before = self.finished
        if self.health.probe_due(now):
            self.wake(1)

    def close(self) -> None:
        """Send nothing any more and drop all connections."""
        self._feed.leave(self._round)
        for slot in self.slots:
            if slot.connection is not None:
                slot.connection.end(Stale())

    async def open(self) -> Connection | Failure:
        options = self.options
        return await open_connection(
            options.target, self._connect, options.timeouts, options.reply_bytes_max, self._inflow
        )

    async def keep_models(self) -> None:
        """Ask for the list of models, often while the upstream does not answer."""
        wait = 1.0
        while True:
            problem = await self._ask_models()
            self.listed = problem is None
            if problem is None:
                wait = MODELS_EVERY_SECONDS
            else:
                now = self._loop.time()
                if not self.answered or self.health.paused_until is not None:
                    self.health.unreachable(problem, now)
                until = self.health.paused_until
                wait = max(0.1, until - now) if until is not None else MODELS_EVERY_SECONDS
            await asyncio.sleep(wait)

    async def _ask_models(self) -> str | None:
        """Learn the models; returns what is wrong when the upstream can not say."""
        connection = await self.open()
        if isinstance(connection, Failure):
            return connection.detail
        alarm = self._loop.call_later(
            MODELS_TIMEOUT_SECONDS,
            connection.end,
            Failure(FailureKind.TIMEOUT, "does not say which models it has"),
        )
        try:
            answer = await connection.send(
                self.options.target.get("/models"), MODELS_TIMEOUT_SECONDS
            )
        finally:
            alarm.cancel()
            connection.end(Stale())
        return self._learn_models(answer)

    def _learn_models(self, answer: Answer) -> str | None:
        if not isinstance(answer, Reply):
            return _problem(answer.detail) if isinstance(answer, Failure) else "closes connections"
        if answer.status in (401, 403):
            return f"answers {answer.status}: check its URL and key"
        if answer.status in _CAN_NOT_LIST:
            self._go_without_list(answer)
            return None
        if answer.status == 429 or answer.status >= 500:
            return self._complaint(answer)
        models: frozenset[str] = frozenset()
        if answer.status == 200:
            try:
                models = frozenset(model.id for model in _model_list.decode(answer.body).data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                models = frozenset()
        self.health.reachable(self._loop.time())
        self._serve(models or None)
        self.wake()
        return None

    def _complaint(self, answer: Reply) -> str:
        return _problem(error_text(without(self.secrets, answer)))

    def _go_without_list(self, answer: Reply) -> None:
        """Go by what is known; an upstream that never had a list may take every model."""
        now = self._loop.time()
        if self.answered:
            self.health.reachable(now)
            self.wake()
        else:
            self._serve(None)
            self.health.doubted(self._complaint(answer), now)

    def _serve(self, models: frozenset[str] | None) -> None:
        """Take requests for these models (None: any), unless they are configured."""
        self.answered = True
        if self.options.models is None:
            self.models = models
            if self._round.models != models:
                self._feed.serve(self._round, models)


class Slot:
    """One connection to the lane's upstream and the request that is on it.

    Its coroutine does what takes time: it opens connections, waits for work, sends again what was
    not read. From reply to reply it sleeps: `_answered` takes a reply, `follow_up` sends the next
    request. None keeps a request or a reply that is done with: any may be many megabytes.
    """

    __slots__ = (
        "_finish", "_first_byte_seconds", "_is_fresh", "_left", "connection", "lane", "request",
    )  # fmt: skip

    def __init__(self, lane: Lane, finish: Finish) -> None:
        self.lane = lane
        self.connection: Connection | None = None
        self.request: Request | None = None
        self._finish = finish
        """Takes each outcome."""
        self._first_byte_seconds = lane.options.timeouts.first_byte_seconds
        self._is_fresh = True
        """Has the connection answered nothing yet?"""
        self._left: asyncio.Future[Failure | Stale | None] | None = None

    async def run(self) -> None:
        """Send one request after another until cancelled."""
        lane = self.lane
        while True:
            self.request = lane.take()
            if self.request is None:
                await lane.park()
                continue
            connection = self.connection
            if connection is None or connection.closed:
                answer = await self._send_anew()
            else:
                answer = await self._send(connection)
            while type(answer) is Stale and self.request is not None:
                answer = await self._send_anew()
            if isinstance(answer, Failure):
                self._fail(answer)
            del answer

    def _fail(self, failure: Failure) -> None:
        request, self.request = self.request, None
        if request is not None:
            self._finish(self.lane, request, failure)

    async def _send(self, connection: Connection) -> Failure | Stale | None:
        """Send the request, and as many after it as will go. Returns what came of the last of them
        if that was no reply, else None.
        """
        self._left = asyncio.get_running_loop().create_future()
        if self.request is not None:
            message = self._message(self.request)
            connection.begin(message, self._first_byte_seconds, self._answered)
            del message
        return await self._left

    def _answered(self, answer: Answer) -> None:
        """Take a reply and ask to follow up, or leave it to the coroutine."""
        left, request, connection = self._left, self.request, self.connection
        if left is None or left.done() or request is None or connection is None:
            return
        if not isinstance(answer, Reply):
            left.set_result(answer)
            return
        try:
            self._is_fresh = False
            self.request = None
            self._finish(self.lane, request, judge(answer, self.lane.secrets))
            if connection.closed:
                left.set_result(None)
            else:
                self.lane.follow_up(self)
        except BaseException as error:  # noqa: BLE001  the coroutine raises it, where it is looked for
            left.set_exception(error)

    def follow_up(self) -> None:
        """Send the next request on the connection that has just answered."""
        left, connection = self._left, self.connection
        if left is None or left.done() or connection is None:
            return
        try:
            self.request = request = None if connection.closed else self.lane.take()
            if request is None:
                left.set_result(None)
            else:
                message = self._message(request)
                connection.begin(message, self._first_byte_seconds, self._answered)
        except BaseException as error:  # noqa: BLE001  the coroutine raises it, where it is looked for
            left.set_exception(error)

    def _message(self, request: Request) -> bytes:
        body, endpoint = request.body, request.shard.order.endpoint
        head = self.lane.heads.get(endpoint) or self.lane.head(endpoint)
        return b"%b%d\r\n\r\n%b" % (head, len(body), body)

    async def _send_anew(self) -> Failure | Stale | None:
        """Send on a new connection: there was none, or the server had closed it unread."""
        connection = await self.lane.open()
        if isinstance(connection, Failure):
            return connection
        self.connection, self._is_fresh = connection, True
        if self.request is not None and self.request.shard.stopped:
            return ABORTED
        answer = await self._send(connection)
        if type(answer) is Stale and self._is_fresh:
            return Failure(FailureKind.RESET, "The upstream closed the connection without a reply.")
        return answer

    def abort(self) -> None:
        """End the exchange under way; its request comes back as a failure."""
        if self.connection is not None and self.request is not None:
            self.connection.end(ABORTED)


def _problem(sentence: str) -> str:
    """What is wrong, to follow the upstream's name: «closed the connection without a reply»."""
    return sentence.removeprefix("The upstream ").rstrip(".")
