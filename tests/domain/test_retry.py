import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.domain.request import Failure, FailureKind
from overnight.domain.retry import GiveUp, Retry, RetryPolicy, decide, is_final

TRANSIENT = Failure(FailureKind.STATUS, "overloaded", status=500)

policies = st.builds(
    RetryPolicy,
    attempts_max=st.integers(1, 5_000),
    backoff_first_seconds=st.floats(0.001, 100),
    backoff_max_seconds=st.floats(0.001, 1_000),
)
moments = st.floats(0, 4e9)
jitters = st.floats(0, 1, exclude_max=True)
failures = st.builds(
    Failure,
    kind=st.sampled_from(FailureKind),
    detail=st.just("so it went"),
    status=st.sampled_from([0, *range(300, 600)]),
)


@given(policies, failures, st.integers(1, 6_000), moments, jitters)
def test_a_failure_is_tried_again_within_the_longest_wait_or_not_at_all(
    policy: RetryPolicy, failure: Failure, attempts: int, now: float, jitter: float
) -> None:
    decision = decide(policy, failure, attempts=attempts, now=now, jitter=jitter)
    if is_final(failure) or attempts >= policy.attempts_max:
        assert decision == GiveUp()
    else:
        assert isinstance(decision, Retry)
        assert now <= decision.at <= now + policy.backoff_max_seconds


@given(policies, failures, moments, jitters)
def test_no_request_is_sent_more_often_than_allowed(
    policy: RetryPolicy, failure: Failure, now: float, jitter: float
) -> None:
    assert isinstance(
        decide(policy, failure, attempts=policy.attempts_max, now=now, jitter=jitter), GiveUp
    )


@pytest.mark.parametrize(
    ("attempts", "wait"), [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (40, 60.0)]
)
def test_waits_double_from_the_first_to_the_longest(attempts: int, wait: float) -> None:
    policy = RetryPolicy(attempts_max=100)
    decision = decide(policy, TRANSIENT, attempts=attempts, now=10.0, jitter=0.5)
    assert decision == Retry(10.0 + wait / 2)


@given(jitters, jitters)
def test_jitter_covers_the_whole_wait(one: float, other: float) -> None:
    at = [
        decide(RetryPolicy(), TRANSIENT, attempts=3, now=0.0, jitter=jitter)
        for jitter in sorted((one, other))
    ]
    assert isinstance(at[0], Retry)
    assert isinstance(at[1], Retry)
    assert at[0].at <= at[1].at < 4.0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422, 301, 501, 505])
def test_what_would_fail_again_is_final(status: int) -> None:
    assert is_final(Failure(FailureKind.STATUS, "", status=status))


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 520, 599])
def test_what_says_not_now_is_worth_another_try(status: int) -> None:
    assert not is_final(Failure(FailureKind.STATUS, "", status=status))


@pytest.mark.parametrize(
    ("kind", "final"),
    [
        (FailureKind.CONNECT, False),
        (FailureKind.RESET, False),
        (FailureKind.TIMEOUT, False),
        (FailureKind.BAD_REPLY, False),
        (FailureKind.TOO_LARGE, True),
        (FailureKind.WORKER_LOST, True),
    ],
)
def test_failures_without_a_reply(kind: FailureKind, *, final: bool) -> None:
    assert is_final(Failure(kind, "")) is final
