"""Which requests are sent again, and after how long. Decides; does not send."""

import random
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

import httpx2

_BUSY: Final = frozenset({429, 503})
"""The server says that it has not done what it was asked, and may do it later."""

_PASSING: Final = _BUSY | {502, 504}
"""Said by whatever stands before a server, which may have done its work."""

_NOTHING_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)


@dataclass(frozen=True, slots=True)
class Retries:
    """Backoff doubles from `first_seconds` to `most_seconds`, each with jitter.

    What a server asks for with `Retry-After` is done instead, up to `asked_seconds_max`; if it
    asks for more, its refusal is final.
    """

    attempts: int = 4
    first_seconds: float = 0.5
    most_seconds: float = 8.0
    asked_seconds_max: float = 60.0
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time
    jitter: Callable[[], float] = random.random

    def after_error(
        self, error: httpx2.RequestError, tries: int, *, repeatable: bool
    ) -> float | None:
        """Seconds until the next try after `tries` of them; None when there is none.

        What is not repeatable is sent again only if nothing of it can have arrived.
        """
        if not repeatable and not isinstance(error, _NOTHING_SENT):
            return None
        return None if _is_lasting(error) else self.backoff(tries)

    def after_reply(self, reply: httpx2.Response, tries: int, *, repeatable: bool) -> float | None:
        if reply.status_code not in (_PASSING if repeatable else _BUSY):
            return None
        wait = self.backoff(tries)
        asked = retry_after_seconds(reply, self.now())
        if wait is None or asked is None:
            return wait
        return asked if asked <= self.asked_seconds_max else None

    def backoff(self, tries: int) -> float | None:
        if tries >= self.attempts:
            return None
        # From half of it: a first wait of nothing would be no wait for a server that restarts.
        most: float = min(self.first_seconds * 2 ** (tries - 1), self.most_seconds)
        return most * (1 + self.jitter()) / 2


def retry_after_seconds(reply: httpx2.Response, now: float) -> float | None:
    """What `Retry-After` asks for, in seconds or as a date (RFC 9110, 10.2.3)."""
    value = reply.headers.get("retry-after", "").strip()
    if value.replace(".", "", 1).isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None


_LASTING: Final = (httpx2.LocalProtocolError, httpx2.TooManyRedirects, httpx2.ConnectTimeout)


def _is_lasting(error: httpx2.RequestError) -> bool:
    """Nothing that mends in seconds: a name, a certificate, a host that has been tried for long."""
    return isinstance(error, _LASTING) or any(
        isinstance(cause, ssl.SSLError | socket.gaierror) for cause in causes(error)
    )


def causes(error: BaseException) -> list[BaseException]:
    """The error and what it came from, the latest first."""
    chain = []
    step: BaseException | None = error
    while step is not None:
        chain.append(step)
        step = step.__cause__ or step.__context__
    return chain
