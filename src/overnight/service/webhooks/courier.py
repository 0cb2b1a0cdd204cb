"""The courier: sends one event to one webhook, once, signed, and to no forbidden address.

A URL of a stranger's must not make us ask our own network. So its host is resolved here, every
address is looked at, and the connection goes to one that was: resolving again on the way could
give another. Certificates are checked against the name all the same. Redirects are not followed.
"""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Final
from urllib.parse import SplitResult

from msgspec.structs import replace
from standardwebhooks import Webhook as Signer

from overnight.dispatch.http1 import Answer, Stale, Timeouts, open_connection
from overnight.dispatch.reply import retry_after_seconds
from overnight.dispatch.target import Target
from overnight.domain.address import is_public
from overnight.domain.errors import InvalidRequest
from overnight.domain.event import Event
from overnight.domain.request import Failure, FailureKind
from overnight.domain.webhook import Attempt, Webhook
from overnight.seams import Seams
from overnight.service.webhooks.destination import checked_url

ANSWER_BYTES_MAX: Final = 1024 * 1024
"""Nobody reads it; it only must not fill our memory."""

_FAILED: Final = {
    FailureKind.TIMEOUT: "did not answer in time",
    FailureKind.RESET: "closed the connection without an answer",
    FailureKind.TOO_LARGE: f"answered with more than {ANSWER_BYTES_MAX:,} bytes",
    FailureKind.BAD_REPLY: "did not answer in HTTP/1.1",
}
_FORBIDDEN: Final = (
    "is this machine or in a private network: see the setting webhooks.allow_private"
)
_REFUSED: Final = (
    "is plain HTTP, this machine or in a private network: see the setting webhooks.allow_private"
)


@dataclass(frozen=True, slots=True)
class CourierOptions:
    """`timeout_seconds` is for all of an attempt, from the name to the whole answer."""

    allow_private: bool = False
    timeout_seconds: float = 15.0


class Courier:
    def __init__(self, seams: Seams, options: CourierOptions) -> None:
        self._clock = seams.clock
        self._resolve = seams.resolve
        self._connect = seams.connect
        self._options = options

    def check(self, url: str) -> None:
        """Raises `InvalidRequest` when the URL alone says that nothing may be sent there."""
        checked_url(url, allow_private=self._options.allow_private)

    async def send(self, webhook: Webhook, event: Event) -> Attempt:
        """One attempt, signed as of now; never raises for what happens at the other end."""
        try:
            # Looked at again: the setting may be another than when it was made.
            parts = checked_url(webhook.url, allow_private=self._options.allow_private)
        except InvalidRequest:
            # Not in its own words: this is logged, and there are URLs that are a right themselves.
            return Attempt(error=_REFUSED)
        try:
            async with asyncio.timeout(self._options.timeout_seconds):
                return await self._exchange(parts, webhook, event)
        except TimeoutError:
            return Attempt(error=_FAILED[FailureKind.TIMEOUT])

    async def _exchange(self, parts: SplitResult, webhook: Webhook, event: Event) -> Attempt:
        target = self._target(parts)
        try:
            addresses = await self._resolve(target.host, target.port)
        except OSError as error:
            return Attempt(error=f"has no address: {error.strerror or error}")
        if not (self._options.allow_private or all(map(is_public, addresses))):
            return Attempt(error=_FORBIDDEN)
        request = _request(target, webhook, event, self._clock.now())
        failure: Failure | None = None
        for address in addresses:
            answer = await self._ask(replace(target, address=address), request)
            if not isinstance(answer, Failure) or answer.kind is not FailureKind.CONNECT:
                return _attempt(answer)
            failure = answer
        return Attempt(error=failure.detail if failure else "has no address")

    async def _ask(self, target: Target, request: bytes) -> Answer:
        seconds = self._options.timeout_seconds
        # All of it together is limited by `send`.
        timeouts = Timeouts(seconds / 2, seconds, seconds)
        connection = await open_connection(target, self._connect, timeouts, ANSWER_BYTES_MAX)
        if isinstance(connection, Failure):
            return connection
        try:
            return await connection.send(request, seconds)
        finally:
            connection.end(Stale())

    def _target(self, parts: SplitResult) -> Target:
        secure = parts.scheme == "https"
        return Target(
            url=parts.geturl(),
            host=parts.hostname or "",
            port=parts.port or (443 if secure else 80),
            path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            authority=parts.netloc,
            tls=self._tls if secure else None,
        )

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()


def signatures(secrets: Sequence[str], delivery_id: str, now: float, body: bytes) -> str:
    """The value of `webhook-signature`: one for each secret, any of which will do."""
    at = datetime.fromtimestamp(int(now), UTC)
    return " ".join(Signer(secret).sign(delivery_id, at, body.decode()) for secret in secrets)


def _request(target: Target, webhook: Webhook, event: Event, now: float) -> bytes:
    """The timestamp is fresh in each attempt, for receivers refuse what is five minutes old."""
    body, delivery_id = event.body(), event.delivery_id(webhook.id)
    headers = (
        f"{len(body)}\r\n"
        f"webhook-id: {delivery_id}\r\n"
        f"webhook-timestamp: {int(now)}\r\n"
        f"webhook-signature: {signatures(webhook.secrets_at(now), delivery_id, now, body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return target.post_head("") + headers.encode() + body


def _attempt(answer: Answer) -> Attempt:
    match answer:
        case Failure():
            return Attempt(error=_FAILED.get(answer.kind, answer.detail))
        case Stale():
            return Attempt(error=_FAILED[FailureKind.RESET])
        case reply:
            wait = retry_after_seconds(reply.retry_after) or 0.0
            return Attempt(status=reply.status, retry_after_seconds=wait)
