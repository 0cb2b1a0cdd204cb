"""Is an upstream fit to be sent to? A reducer without I/O: outcomes in, verdicts out.

Failures are judged here, per upstream, before they are charged to a request. An engine that is
down or misconfigured must not turn ten million requests into ten million errors: while it is
paused, one probe at a time is sent, and what fails because of the pause costs nothing.
"""

from enum import Enum
from typing import Final

from overnight.dispatch.complaint import is_page, names_model
from overnight.domain.request import Failure, FailureKind

PROBE_FIRST_SECONDS: Final = 1.0
PROBE_MAX_SECONDS: Final = 30.0
KNOCK_MAX_SECONDS: Final = 5.0
"""Between tries while it can not be reached at all: they burden nobody, and an engine that was
restarted should not stand idle for as long again as it took to start."""
BAD_REPLIES_IN_A_ROW: Final = 3
"""Gateway errors and cut connections are a request's bad luck one by one, an outage in a row."""
REPLIES_REMEMBERED: Final = 20

_DOWN: Final = frozenset({502, 503, 504})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MISCONFIGURED: Final = frozenset({401, 403, 404, 405}) | _REDIRECTS


class Verdict(Enum):
    CHARGED = "charged"
    """The request's own failure: it costs one of its attempts."""
    UNCHARGED = "uncharged"
    """The upstream's trouble: the request goes back as if it had not been sent."""


class Health:
    """The state of one upstream as one worker sees it. Times are the loop's seconds."""

    __slots__ = (
        "_bad_in_row", "_probe_seconds", "_probing", "_rest_until", "_unreachable",
        "failures_in_row", "paused_until", "proven", "reason", "spotless",
    )  # fmt: skip

    def __init__(self) -> None:
        self.paused_until: float | None = None
        """None: open. Otherwise, when the next probe may go."""
        self.reason = ""
        """What is wrong, to follow the upstream's name: «refuses connections»."""
        self.proven = False
        """Has it ever answered with success?"""
        self.failures_in_row = 0
        self.spotless = False
        """True when a success would change nothing; the hot path's shortcut."""
        self._bad_in_row = 0
        self._probe_seconds = PROBE_FIRST_SECONDS
        self._probing = False
        self._rest_until = 0.0
        """It asked for a rest until then: what was under way and still succeeds ends no rest."""
        self._unreachable = False

    def admits(self, now: float) -> bool:
        """May another request be sent now? When paused, saying yes hands out the one probe."""
        if self.paused_until is None:
            return True
        if self._probing or now < self.paused_until:
            return False
        self._probing = True
        return True

    def probe_due(self, now: float) -> bool:
        """Is it paused, and a probe allowed but not on its way?"""
        return self.paused_until is not None and not self._probing and now >= self.paused_until

    def succeeded(self, now: float) -> None:
        """It answered a request: whatever was wrong is over."""
        self.proven = True
        self.failures_in_row = 0
        self._bad_in_row = 0
        self._reopen(now)
        self.spotless = self.paused_until is None

    def reachable(self, now: float) -> None:
        """It answered for its models: over, if being unreachable was all that was wrong."""
        if self._unreachable:
            self._reopen(now)

    def unsent(self) -> None:
        """The probe handed out was not used after all."""
        self._probing = False

    def failed(self, failure: Failure, now: float, jitter: float, *, probe: bool) -> Verdict:
        """Judge a failed request. `probe`: it was the one sent to find out; others sent before
        a pause and failing in its wake change nothing any more.
        """
        self.failures_in_row += 1
        self.spotless = False
        paused = self.paused_until is not None
        self._probing = self._probing and not probe
        if failure.status == 429 or (
            failure.status == 503 and failure.retry_after_seconds is not None
        ):
            self._hold_off(failure, now, jitter, probe)
            return Verdict.UNCHARGED
        if failure.kind is FailureKind.CONNECT:
            self._knock_again(failure.detail, now, probe)
            return Verdict.UNCHARGED
        if is_outage(failure):
            return self._outage(failure, now, probe)
        if self._misconfigured(failure):
            self._pause(_misconfiguration(failure), now, probe)
            return Verdict.UNCHARGED
        # Any other reply, even an error, shows that something answers there.
        self._bad_in_row = 0
        if failure.status:
            self._reopen(now)
        elif paused:
            self._pause(self.reason, now, probe)
        return Verdict.CHARGED

    def unreachable(self, reason: str, now: float) -> None:
        """Its list of models could not be had: pause, or count it as a failed probe."""
        self.spotless = False
        self._knock_again(reason, now, probe=True)

    def doubted(self, reason: str, now: float) -> None:
        """It can be reached, but only a request can show whether it serves any: probe it next."""
        self.spotless = False
        self._pause(reason, now, probe=False)
        self.reason = reason
        self.paused_until = max(now, self._rest_until)
        self._unreachable = False

    def _reopen(self, now: float) -> None:
        if now < self._rest_until:
            self._probing = False
            return
        self.paused_until = None
        self.reason = ""
        self._probe_seconds = PROBE_FIRST_SECONDS
        self._probing = False
        self._unreachable = False

    def _misconfigured(self, failure: Failure) -> bool:
        if failure.status not in _MISCONFIGURED and not is_page(failure):
            return False
        if failure.status == 404 and names_model(failure):
            return False
        return not self.proven or self.failures_in_row >= REPLIES_REMEMBERED

    def _outage(self, failure: Failure, now: float, probe: bool) -> Verdict:
        self._bad_in_row += 1
        if self.paused_until is None and self._bad_in_row < BAD_REPLIES_IN_A_ROW:
            return Verdict.CHARGED
        if failure.status:
            what = f"answers {failure.status}"
        elif failure.kind is FailureKind.BAD_REPLY:
            what = "does not answer in HTTP/1.1: check its URL"
        else:
            what = "closes connections"
        self._pause(what, now, probe)
        return Verdict.UNCHARGED

    def _knock_again(self, reason: str, now: float, probe: bool) -> None:
        if self._pause(reason, now, probe, KNOCK_MAX_SECONDS):
            self._unreachable = True

    def _pause(
        self, reason: str, now: float, probe: bool, longest: float = PROBE_MAX_SECONDS
    ) -> bool:
        """Pause, or after a failed probe pause for twice as long; a straggler changes nothing."""
        if self.paused_until is None:
            self._probe_seconds = PROBE_FIRST_SECONDS
        elif probe:
            self._probe_seconds = min(2 * self._probe_seconds, longest)
        else:
            return False
        self.reason = reason
        self.paused_until = max(now + self._probe_seconds, self._rest_until)
        self._unreachable = False
        return True

    def _hold_off(self, failure: Failure, now: float, jitter: float, probe: bool) -> None:
        """It asked for a rest: at least what it said, at least a second, spread by a quarter."""
        if failure.retry_after_seconds is None:
            self._pause(f"answers {failure.status}", now, probe)
            return
        wait = max(1.0, failure.retry_after_seconds) * (1 + jitter / 4)
        self._rest_until = max(self._rest_until, now + wait)
        self.paused_until = max(self.paused_until or 0.0, self._rest_until)
        self._unreachable = False
        self.reason = f"answers {failure.status} and asks for {failure.retry_after_seconds:g} s"


def is_outage(failure: Failure) -> bool:
    """Is it what an upstream does that is down behind its gateway, cut short or no HTTP at all?"""
    if failure.status:
        return failure.status in _DOWN and failure.retry_after_seconds is None
    return failure.kind in (FailureKind.RESET, FailureKind.BAD_REPLY)


def _misconfiguration(failure: Failure) -> str:
    status = failure.status
    if status in (401, 403):
        return f"answers {status}: check its URL and key"
    if status in _REDIRECTS:
        return f"answers {status}, a redirect: give it the URL that it points to"
    if is_page(failure):
        return "answers with a web page: check its URL"
    return f"answers {status}: check its URL and whether it has the endpoint"
