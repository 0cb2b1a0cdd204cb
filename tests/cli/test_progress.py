"""Lines, rates and times, on a clock that only the test moves."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.cli.progress import (
    Pace,
    ProgressLine,
    Standing,
    as_rate,
    as_time,
    fitting,
    in_bytes,
    in_short,
    in_thousands,
    parts,
)
from overnight.cli.recent_rate import RecentRate
from support.terminal import Screen


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    return Screen()


def words(standing: Standing, pace: Pace) -> str:
    return ", ".join(part.words for part in parts(standing, pace, in_thousands))


HALF = Standing(10_000, 1_200, 3, 96_000, 7)
PACE = Pace(elapsed=40, rate=412, tokens_rate=81_204, left=21)


def test_words() -> None:
    assert words(HALF, PACE) == (
        "1,200/10,000 done, 3 failed, 412/s, 81.2k tok/s, 0:21 left, 7 retries, 0:40 so far"
    )
    assert words(Standing(10_000, 1_200), Pace(3)) == "1,200/10,000 done, 0:03 so far"
    assert words(Standing(0), Pace(3)) == "0 done, 0:03 so far"
    assert words(HALF, Pace(75, 100, 8_000, ended=True)) == (
        "1,200/10,000 done, 3 failed, 7 retries, 96.0k tokens, 1:15 in all, "
        "on average 100/s, 8,000 tok/s"
    )
    assert words(Standing(5, 5, retries=1), Pace(75, 0, ended=True)) == (
        "5/5 done, 1 retry, 1:15 in all"
    )


def test_a_stall_takes_the_place_of_the_time_left() -> None:
    assert "stalled 0:40" in words(HALF, Pace(90, 412, left=None, stalled=40))


def test_what_matters_most_stays_on_a_narrow_terminal() -> None:
    told = parts(HALF, PACE, in_thousands)
    shown = {width: ", ".join(p.words for p in fitting(told, width)) for width in (10, 40, 60, 90)}
    assert shown[10] == "1,200/10,000 done"
    assert shown[40] == "1,200/10,000 done, 3 failed, 0:21 left"
    assert shown[60] == "1,200/10,000 done, 3 failed, 412/s, 81.2k tok/s, 0:21 left"
    assert shown[90] == words(HALF, PACE)


@given(st.integers(0, 120))
def test_less_room_never_shows_more(width: int) -> None:
    told = parts(HALF, PACE, in_thousands)
    assert set(fitting(told, width)) <= set(fitting(told, width + 1))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (36_061, "10:01:01")]
)
def test_time(seconds: float, text: str) -> None:
    assert as_time(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 * 2**40, "3.0 TiB")]
)
def test_bytes(amount: int, text: str) -> None:
    assert in_bytes(amount) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0"), (4, "4"), (812, "812"), (9_999, "9,999"), (9_999.9, "10.0k"), (81_204, "81.2k"),
     (999_960, "1.0M"), (2_100_000, "2.1M"), (3_000_000_000, "3,000.0M")],
)  # fmt: skip
def test_short_amounts(amount: float, text: str) -> None:
    assert in_short(amount) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(1_234, "1,234/s"), (9.97, "10/s"), (3.41, "3.4/s"), (3, "3/s"), (0.4, "24/min"),
     (0.02, "1.2/min"), (0.001, "3.6/h")],
)  # fmt: skip
def test_rates_of_slow_engines_are_not_nought(rate: float, text: str) -> None:
    assert as_rate(rate, in_thousands) == text


def test_rate_is_of_the_last_minute() -> None:
    rate = RecentRate()
    assert rate.per_second() is None
    for second in range(300):
        rate.sample(second, second if second < 200 else 200 + 10 * (second - 200))
    assert rate.per_second() == pytest.approx(10)


def test_rate_starts_where_the_work_starts() -> None:
    """What an earlier start had done counts as done, not as fast."""
    rate = RecentRate()
    rate.sample(0, 1_000_000)
    rate.sample(2, 1_000_010)
    assert rate.per_second() == 5


def test_a_stall_counts_for_a_minute_and_no_longer() -> None:
    rate = RecentRate()
    for second in range(10):
        rate.sample(second, 10 * second, 1_000 * second)
    for second in range(10, 3_000):
        rate.sample(second, 90, 9_000)
    for second in range(3_000, 3_031):
        rate.sample(second, 90 + 10 * (second - 2_999), 9_000 + 1_000 * (second - 2_999))
    assert rate.per_second() == pytest.approx(5, rel=0.05)
    assert rate.tokens_per_second() == pytest.approx(500, rel=0.05)


def test_the_rate_of_a_slow_engine_is_of_more_than_a_minute() -> None:
    rate = RecentRate()
    for second in range(3_600):
        rate.sample(second, second // 100)
    assert rate.per_second() == pytest.approx(0.01, rel=0.1)
    assert len(rate._samples) < 100


def test_rate_remembers_little() -> None:
    rate = RecentRate()
    for step in range(100_000):
        rate.sample(step / 1_000, step)
    assert rate.per_second() == pytest.approx(1_000, rel=0.02)
    assert len(rate._samples) <= 70


def test_plain_lines_come_now_and_then(clock: Clock) -> None:
    stream = io.StringIO()
    with ProgressLine(100, "sending", stream=stream, clock=clock) as line:
        for done in range(0, 101, 10):
            line.update(done, failed=done // 50, tokens=100 * done, retries=done // 60)
            clock.now += 1
    *lines, last = stream.getvalue().splitlines()
    assert lines == [
        "sending: 50/100 done, 1 failed, 10/s, 1,000 tok/s, 0:05 left, 0:05 so far",
        "sending: 100/100 done, 2 failed, 10/s, 1,000 tok/s, 1 retry, 0:10 so far",
    ]
    assert last == (
        "sending: 100/100 done, 2 failed, 1 retry, 10.0k tokens, 0:11 in all, "
        "on average 9.1/s, 909 tok/s"
    )


def test_a_new_note_is_told_at_once(clock: Clock) -> None:
    stream = io.StringIO()
    with ProgressLine(100, "sending", stream=stream, clock=clock) as line:
        line.update(1)
        line.update(1, note="waiting: next try in 4 s")
        line.update(1, note="waiting: next try in 3 s")
        assert stream.getvalue().count("\n") == 1
        line.update(1)
    assert stream.getvalue().count("\n") == 3


def test_what_was_done_before_counts_for_no_rate(clock: Clock) -> None:
    stream = io.StringIO()
    with ProgressLine(1_000, "sending", stream=stream, clock=clock) as line:
        for second in range(11):
            clock.now = second
            line.update(500 + 10 * second, tokens=70_000 + 500 * second)
    *lines, last = stream.getvalue().splitlines()
    assert "600/1,000 done, 10/s, 500 tok/s, 0:40 left" in lines[-1]
    assert last.endswith("75.0k tokens, 0:10 in all, on average 10/s, 500 tok/s")


def test_no_time_left_is_guessed_while_nothing_moves(clock: Clock) -> None:
    stream = io.StringIO()
    with ProgressLine(1_000, "sending", stream=stream, clock=clock) as line:
        for second in range(61):
            clock.now = second
            line.update(min(10 * second, 200))
    at = {text.split(", ")[-1]: text for text in stream.getvalue().splitlines()}
    assert "stalled" not in at["0:30 so far"]
    assert "left" in at["0:30 so far"]
    assert "stalled 0:15" in at["0:35 so far"]
    assert "stalled 0:40" in at["1:00 so far"]
    assert "left" not in at["1:00 so far"]


def test_an_engine_that_takes_long_for_each_answer_has_not_stalled(clock: Clock) -> None:
    stream = io.StringIO()
    with ProgressLine(100, "sending", stream=stream, clock=clock) as line:
        for second in range(601):
            clock.now = second
            line.update(second // 30)
    assert "stalled" not in stream.getvalue()
    assert "20/100 done, 2.2/min, 36:08 left" in stream.getvalue()


def test_a_line_on_a_terminal(clock: Clock, terminal: Screen) -> None:
    with ProgressLine(1_000, "sending", stream=terminal, clock=clock) as line:
        line.update(0, tokens=0)
        clock.now = 5
        line.update(250, failed=2, tokens=40_000, retries=4)
        *_, drawn = terminal.lines
    assert re.fullmatch(
        r"sending \S{8,24} 250/1,000 done, 2 failed, 50/s, 8,000 tok/s, 0:15 left, 4 retries"
        r"(, 0:05 so far)?",
        drawn,
    )
    assert "on average 50/s, 8,000 tok/s" in terminal.lines[-1]


@pytest.mark.parametrize("columns", [24, 40, 60, 80, 100, 200])
def test_it_stays_one_line_on_a_terminal_of_any_width(
    columns: int, clock: Clock, terminal: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with ProgressLine(1_000_000, "sending", stream=terminal, clock=clock) as line:
        for second in range(60):
            clock.now = second
            line.update(10_000 * second, failed=second, tokens=10**6 * second, retries=second)
    drawn = terminal.lines
    assert " in all" in drawn[-1] or columns <= 40
    assert max(map(len, drawn)) <= columns
    assert all(re.search(r"\d,000/1,000,000 done", text) for text in drawn)
    assert len(drawn) > 50


def test_a_note_is_never_lost(clock: Clock, terminal: Screen) -> None:
    note = "waiting: [x] is away, and that takes a long sentence to tell of all that is amiss"
    with ProgressLine(1_000, "sending", stream=terminal, clock=clock) as line:
        clock.now = 1
        line.update(250, failed=2, tokens=4_000, note=note)
        assert terminal.lines[-1].strip() == note
        clock.now = 2
        line.update(1_000)
    assert "1,000/1,000 done, 0:02 in all" in terminal.lines[-1]


def test_a_dumb_terminal_gets_plain_lines(
    clock: Clock, terminal: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with ProgressLine(10, "sending", stream=terminal, clock=clock) as line:
        line.update(10)
    assert terminal.getvalue() == "sending: 10/10 done, 0:00 in all\n"


def test_a_note_is_harmless(clock: Clock, terminal: Screen) -> None:
    for stream in (io.StringIO(), terminal):
        with ProgressLine(9, "job", stream=stream, clock=clock) as line:
            line.update(1, note="waiting\x1b[2J")
        assert "waiting�[2J" in stream.getvalue()
        assert "\x1b[2J" not in stream.getvalue()
