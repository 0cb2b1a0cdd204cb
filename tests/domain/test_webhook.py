"""Webhooks: which secrets sign, what acknowledges, and when it is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.domain.event import EventType
from overnight.domain.webhook import Attempt, OldSecret, Webhook, retry_delay_seconds

MONDAY = 1_700_000_000.0


def test_old_secrets_sign_until_their_time_is_up() -> None:
    old = (OldSecret("whsec_b", MONDAY + 10), OldSecret("whsec_a", MONDAY))
    webhook = Webhook(
        "we_1", "t", "n", "https://a", (EventType.FAILED,), "whsec_c", MONDAY, MONDAY, old
    )
    assert webhook.secrets_at(MONDAY - 1) == ["whsec_c", "whsec_b", "whsec_a"]
    assert webhook.secrets_at(MONDAY) == ["whsec_c", "whsec_b"]
    assert webhook.secrets_at(MONDAY + 10) == ["whsec_c"]


def test_a_hint_is_not_the_secret() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    webhook = Webhook("we_1", "t", "n", "https://a", (), secret, 1.0, 1.0)
    assert webhook.secret_hint == "whsec_…LaSw"


@pytest.mark.parametrize(
    ("attempt", "acknowledged"),
    [
        (Attempt(200), True),
        (Attempt(204), True),
        (Attempt(301), False),
        (Attempt(400), False),
        (Attempt(503), False),
        (Attempt(error="refuses connections"), False),
    ],
)
def test_only_a_2xx_acknowledges(attempt: Attempt, acknowledged: bool) -> None:
    assert attempt.acknowledged is acknowledged


@given(st.integers(1, 100_000), st.floats(0, 1, exclude_max=True))
def test_waits_grow_to_four_hours_and_differ_by_half(attempts: int, jitter: float) -> None:
    longest = min(5.0 * 2 ** min(attempts - 1, 100), 4 * 3_600.0)
    assert longest / 2 <= retry_delay_seconds(attempts, jitter) <= longest
