"""Failures are judged per upstream before they are charged: one test for each rule of that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.dispatch.health import (
    BAD_REPLIES_IN_A_ROW,
    KNOCK_MAX_SECONDS,
    PROBE_MAX_SECONDS,
    REPLIES_REMEMBERED,
    Health,
    Verdict,
)
from overnight.domain.request import Failure, FailureKind

REFUSED = Failure(FailureKind.CONNECT, "refuses connections")
RESET = Failure(FailureKind.RESET, "closed")
TIMEOUT = Failure(FailureKind.TIMEOUT, "late")
NOT_HTTP = Failure(FailureKind.BAD_REPLY, "not HTTP")

CHARGED, UNCHARGED = Verdict.CHARGED, Verdict.UNCHARGED


def status(code: int, body: bytes = b"{}", retry_after: float | None = None) -> Failure:
    return Failure(FailureKind.STATUS, "", code, None, body, retry_after)


def proven() -> Health:
    health = Health()
    health.succeeded(0.0)
    return health


def fail(
    health: Health, failure: Failure, now: float = 0.0, *, probe: bool = False, jitter: float = 0.0
) -> Verdict:
    return health.failed(failure, now, jitter, probe=probe)


def fails(health: Health, failure: Failure, times: int) -> list[Verdict]:
    return [fail(health, failure) for _ in range(times)]


# Down


def test_an_upstream_without_trouble_admits_everything() -> None:
    health = proven()
    assert health.spotless
    assert all(health.admits(0.0) for _ in range(1_000))


def test_one_refused_connection_pauses_and_costs_nothing() -> None:
    health = proven()
    assert fail(health, REFUSED) is UNCHARGED
    assert health.paused_until == 1.0
    assert health.reason == "refuses connections"


@pytest.mark.parametrize("failure", [status(502), status(503), status(504), RESET])
def test_gateway_errors_and_resets_pause_when_they_come_in_a_row(failure: Failure) -> None:
    health = proven()
    assert fails(health, failure, BAD_REPLIES_IN_A_ROW) == [CHARGED, CHARGED, UNCHARGED]
    assert health.paused_until is not None


def test_a_success_between_them_breaks_the_row() -> None:
    health = proven()
    for _ in range(10):
        assert fails(health, RESET, BAD_REPLIES_IN_A_ROW - 1) == [CHARGED, CHARGED]
        health.succeeded(0.0)
    assert health.paused_until is None


def test_any_other_reply_between_them_breaks_the_row() -> None:
    health = proven()
    for _ in range(5):
        fails(health, status(503), BAD_REPLIES_IN_A_ROW - 1)
        assert fail(health, status(500)) is CHARGED
    assert health.paused_until is None


def test_what_was_under_way_when_the_pause_began_costs_nothing_and_prolongs_nothing() -> None:
    health = proven()
    fail(health, REFUSED)
    for failure in (REFUSED, RESET, status(503), status(502)):
        assert fail(health, failure, 0.5) is UNCHARGED
    assert health.paused_until == 1.0


# The probe


def test_a_paused_upstream_admits_one_probe_when_it_is_due() -> None:
    health = proven()
    fail(health, REFUSED)
    assert not health.admits(0.99)
    assert health.probe_due(1.0)
    assert health.admits(1.0)
    assert not health.probe_due(1.0)
    assert not any(health.admits(now) for now in (1.0, 2.0, 1_000.0))


def test_a_probe_not_used_may_be_handed_out_again() -> None:
    health = proven()
    fail(health, REFUSED)
    assert health.admits(1.0)
    health.unsent()
    assert health.admits(1.0)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (status(503), [1.0, 2.0, 4.0, 8.0, 16.0, PROBE_MAX_SECONDS, PROBE_MAX_SECONDS, 30.0]),
        (REFUSED, [1.0, 2.0, 4.0, KNOCK_MAX_SECONDS, KNOCK_MAX_SECONDS, 5.0, 5.0, 5.0]),
    ],
)
def test_waits_between_probes_double_up_to_the_longest(
    failure: Failure, expected: list[float]
) -> None:
    health = proven()
    now, waits = 0.0, []
    fails(health, failure, BAD_REPLIES_IN_A_ROW)
    for _ in range(8):
        assert health.paused_until is not None
        waits.append(health.paused_until - now)
        now = health.paused_until
        assert health.admits(now)
        assert fail(health, failure, now, probe=True) is UNCHARGED
    assert waits == expected


def test_a_probe_that_succeeds_reopens_and_the_next_pause_is_short_again() -> None:
    health = proven()
    for now in (0.0, 1.0, 3.0):
        health.admits(now)
        fail(health, REFUSED, now, probe=now > 0)
    assert health.paused_until == 7.0
    assert health.admits(7.0)
    health.succeeded(7.0)
    assert health.spotless
    fail(health, REFUSED, 8.0)
    assert health.paused_until == 9.0


def test_a_probe_that_gets_any_reply_reopens() -> None:
    health = proven()
    fail(health, REFUSED)
    assert health.admits(1.0)
    assert fail(health, status(400), 1.0, probe=True) is CHARGED
    assert health.paused_until is None


def test_a_probe_that_times_out_is_charged_and_prolongs_the_pause() -> None:
    health = proven()
    fail(health, REFUSED)
    assert health.admits(1.0)
    assert fail(health, TIMEOUT, 1.0, probe=True) is CHARGED
    assert health.paused_until == 3.0
    assert health.admits(3.0)


# It asks for a rest


@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_pauses_at_once_and_costs_nothing(code: int) -> None:
    health = proven()
    assert fail(health, status(code, retry_after=20.0), 100.0) is UNCHARGED
    assert health.paused_until == 120.0
    assert "20 s" in health.reason


@given(st.floats(0, 3600), st.floats(0, 1, exclude_max=True))
def test_a_rest_lasts_at_least_what_was_asked_and_a_second(asked: float, jitter: float) -> None:
    health = proven()
    fail(health, status(429, retry_after=asked), jitter=jitter)
    assert health.paused_until is not None
    assert max(1.0, asked) <= health.paused_until <= max(1.0, asked) * 1.25


def test_a_429_without_a_time_pauses_for_the_first_probe() -> None:
    health = proven()
    assert fail(health, status(429)) is UNCHARGED
    assert health.paused_until == 1.0


def test_the_longest_rest_asked_for_counts() -> None:
    health = proven()
    fail(health, status(429, retry_after=30.0), 0.0)
    fail(health, status(429, retry_after=5.0), 1.0)
    assert health.paused_until == 30.0
    fail(health, status(429, retry_after=40.0), 2.0)
    assert health.paused_until == 42.0


@pytest.mark.parametrize("straggler", [None, status(400), status(500)])
def test_what_was_under_way_and_gets_its_reply_ends_no_rest(straggler: Failure | None) -> None:
    health = proven()
    fail(health, status(429, retry_after=30.0), 0.0)
    if straggler is None:
        health.succeeded(1.0)
    else:
        fail(health, straggler, 1.0)
    assert health.paused_until == 30.0
    assert not health.admits(29.0)
    assert health.admits(30.0)
    health.succeeded(30.5)
    assert health.spotless


def test_a_list_of_models_ends_no_rest_and_a_missing_one_shortens_none() -> None:
    health = proven()
    fail(health, REFUSED, 0.0)
    fail(health, status(429, retry_after=30.0), 0.1)
    health.reachable(1.0)
    assert health.paused_until == pytest.approx(30.1)
    health.unreachable("refuses connections", 2.0)
    assert health.paused_until == pytest.approx(30.1)


def test_a_rest_prolonged_while_its_probe_is_out_still_ends() -> None:
    health = proven()
    fail(health, status(429, retry_after=1.0), 0.0)
    assert health.admits(1.0)
    fail(health, status(429, retry_after=10.0), 1.5)
    health.succeeded(2.0)
    assert health.paused_until == 11.5
    assert health.admits(11.5)


# Misconfigured


@pytest.mark.parametrize("code", [401, 403, 404])
def test_an_upstream_never_proven_is_misconfigured_at_once(code: int) -> None:
    health = Health()
    assert fail(health, status(code)) is UNCHARGED
    assert health.paused_until is not None
    assert str(code) in health.reason


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_proven_one_when_the_last_20_held_no_success(code: int) -> None:
    health = proven()
    verdicts = fails(health, status(code), REPLIES_REMEMBERED)
    assert verdicts == [CHARGED] * (REPLIES_REMEMBERED - 1) + [UNCHARGED]


def test_among_successes_a_401_is_the_requests_own_answer() -> None:
    health = proven()
    for _ in range(10):
        assert set(fails(health, status(401), REPLIES_REMEMBERED - 1)) == {CHARGED}
        health.succeeded(0.0)
    assert health.paused_until is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"message":"The model `x` does not exist","code":"model_not_found"}}',
        b'{"error":{"message":"not there","code":"model_not_found"}}',
        b'{"object":"error","message":"The model `x` does not exist.","code":404}',
        b'{"error":"model \\"x\\" not found, try pulling it first"}',
    ],
)
def test_a_404_that_names_the_model_is_the_requests_own_answer(body: bytes) -> None:
    health = Health()
    assert set(fails(health, status(404, body), 50)) == {CHARGED}
    assert health.paused_until is None


@pytest.mark.parametrize("body", [b"", b"<html>404</html>", b'{"detail":"Not Found"}', b"[1]"])
def test_a_404_that_does_not_is_about_the_url(body: bytes) -> None:
    assert fail(Health(), status(404, body)) is UNCHARGED


def test_the_right_key_ends_it() -> None:
    health = Health()
    fail(health, status(401))
    assert health.admits(1.0)
    fail(health, status(401), 1.0, probe=True)
    assert health.paused_until == 3.0
    assert health.admits(3.0)
    health.succeeded(3.0)
    assert health.spotless


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308, 405])
def test_a_url_that_is_not_the_api_pauses_it(code: int) -> None:
    health = Health()
    assert fail(health, status(code)) is UNCHARGED
    assert f"answers {code}" in health.reason
    assert fail(proven(), status(code)) is CHARGED


def test_a_web_page_in_place_of_answers_is_about_the_url() -> None:
    page = Failure(FailureKind.BAD_REPLY, "?", 200, None, b"\n<!doctype html>")
    health = Health()
    assert fail(health, page) is UNCHARGED
    assert health.reason == "answers with a web page: check its URL"
    assert fail(proven(), page) is CHARGED


def test_an_upstream_that_does_not_speak_http_is_out_from_the_third_time_on() -> None:
    health = proven()
    assert fails(health, NOT_HTTP, 3) == [CHARGED, CHARGED, UNCHARGED]
    assert "HTTP/1.1" in health.reason


# The request's own


@pytest.mark.parametrize("failure", [status(400), status(413), status(422), status(500), TIMEOUT])
def test_everything_else_is_charged_and_pauses_nothing(failure: Failure) -> None:
    health = proven()
    assert set(fails(health, failure, 50)) == {CHARGED}
    assert health.paused_until is None


# The list of models


def test_an_upstream_that_can_not_say_its_models_is_paused_until_it_can() -> None:
    health = Health()
    health.unreachable("refuses connections", 0.0)
    health.unreachable("refuses connections", 1.0)
    assert health.paused_until == 3.0
    health.reachable(2.0)
    assert health.paused_until is None


def test_an_upstream_that_can_not_list_its_models_is_probed_at_once() -> None:
    health = Health()
    health.unreachable("refuses connections", 0.0)
    health.doubted("answered 500", 0.5)
    assert health.reason == "answered 500"
    assert health.admits(0.5)
    assert not health.admits(0.5)
    health.reachable(0.6)
    assert health.paused_until is not None
    health.succeeded(0.7)
    assert health.paused_until is None


def test_a_list_of_models_does_not_make_up_for_failing_replies() -> None:
    health = proven()
    fail(health, REFUSED, 0.0)
    health.admits(1.0)
    fail(health, status(503), 1.0, probe=True)
    health.reachable(1.5)
    assert health.paused_until == 3.0


# Whatever happens

events = st.lists(
    st.tuples(
        st.floats(0, 50),
        st.sampled_from(
            [
                *(None, REFUSED, RESET, TIMEOUT, NOT_HTTP, status(429, retry_after=9.0)),
                *map(status, (400, 401, 404, 429, 500, 503)),
            ]
        ),
        st.booleans(),
    ),
    max_size=40,
)


@given(events)
def test_no_series_of_events_pauses_it_for_good(
    series: list[tuple[float, Failure | None, bool]],
) -> None:
    """Probes go out when they are due, and stragglers of earlier sendings come in between."""
    health = Health()
    now, probing = 0.0, False
    for wait, event, of_probe in series:
        now += wait
        probing = (health.admits(now) and health.paused_until is not None) or probing
        probe = probing and of_probe
        if event is None:
            health.succeeded(now)
        else:
            fail(health, event, now, probe=probe)
        probing = probing and not probe
    if probing:
        health.unsent()
    until = health.paused_until
    if until is not None:
        assert until <= now + max(PROBE_MAX_SECONDS, 9.0 * 1.25)
        assert health.admits(until)
        health.succeeded(until)
    assert health.paused_until is None
