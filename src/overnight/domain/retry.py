"""Whether a failed request is sent again, as a pure function.

Only failures charged to the request come here. What is the upstream's own trouble (it is down,
overloaded, misconfigured) is judged before, in `dispatch.health`, and costs a request nothing.
"""

from dataclasses import dataclass
from typing import Final

from overnight.domain.request import Failure, FailureKind

_WORTH_ANOTHER_TRY: Final = frozenset({408, 409, 425, 429})
"""4xx statuses that say «not now» instead of «never» (RFC 9110 §15.5.9, RFC 8470, RFC 6585)."""

_NEVER: Final = frozenset({501, 505})

_DOUBLINGS_MAX: Final = 64
"""More than any wait takes to reach its limit; 2.0 ** 1024 would be no float any more."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    attempts_max: int = 5
    """Charged attempts, the first included."""
    backoff_first_seconds: float = 1.0
    backoff_max_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Retry:
    at: float
    """Not before this moment, on the clock of `now`."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The failure is the request's outcome."""


def is_final(failure: Failure) -> bool:
    """Would the same request fail the same way again?"""
    if failure.kind is FailureKind.STATUS:
        if failure.status in _NEVER:
            return True
        return failure.status < 500 and failure.status not in _WORTH_ANOTHER_TRY
    return failure.kind in (FailureKind.TOO_LARGE, FailureKind.WORKER_LOST)


def decide(
    policy: RetryPolicy, failure: Failure, *, attempts: int, now: float, jitter: float
) -> Retry | GiveUp:
    """Judge a charged failure after `attempts` charged attempts, this one included.

    Waits grow as 1, 2, 4, … seconds with full jitter: `jitter` in [0, 1) picks the moment
    within the wait, so that requests that failed together do not return together.
    """
    if is_final(failure) or attempts >= policy.attempts_max:
        return GiveUp()
    growth = 2.0 ** min(attempts - 1, _DOUBLINGS_MAX)
    wait = min(policy.backoff_first_seconds * growth, policy.backoff_max_seconds)
    return Retry(now + wait * jitter)
