"""Lines, rates and times, on a clock that only the test moves."""

import io

import pytest

from overnight.cli.progress import ProgressLine, RecentRate, Standing, as_time, in_bytes


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def words(standing: Standing, rate: float | None = None, elapsed: float = 3) -> str:
    return standing.words(lambda amount: f"{amount:,.0f}", rate, elapsed)


def test_words() -> None:
    half = Standing(10_000, 1_200, 3)
    assert words(half, rate=412) == "1,200/10,000 done, 3 failed, 412/s, 0:21 left"
    assert words(half) == "1,200/10,000 done, 3 failed, 0:03 so far"
    assert words(Standing(5, 5), rate=1, elapsed=75) == "5/5 done, 1:15 in all"
    waiting = Standing(5, 0, note="waiting: nobody is there")
    assert words(waiting, rate=0) == "0/5 done, 0:03 so far, waiting: nobody is there"


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


def test_rate_remembers_little() -> None:
    rate = RecentRate()
    for step in range(100_000):
        rate.sample(step / 1_000, step)
    assert rate.per_second() == pytest.approx(1_000, rel=0.02)
    assert len(rate._samples) <= 70


def test_plain_lines_come_now_and_then() -> None:
    clock, stream = Clock(), io.StringIO()
    with ProgressLine(100, "sending", stream=stream, clock=clock) as line:
        for done in range(0, 101, 10):
            line.update(done, failed=done // 50)
            clock.now += 1
    assert stream.getvalue().splitlines() == [
        "sending: 50/100 done, 1 failed, 10/s, 0:05 left",
        "sending: 100/100 done, 2 failed, 0:10 in all",
        "sending: 100/100 done, 2 failed, 0:11 in all",
    ]


def test_a_new_note_is_told_at_once() -> None:
    clock, stream = Clock(), io.StringIO()
    with ProgressLine(100, "sending", stream=stream, clock=clock) as line:
        line.update(1)
        line.update(1, note="waiting")
        line.update(1, note="waiting")
        assert stream.getvalue().count("\n") == 1
        line.update(1)
    assert stream.getvalue().count("\n") == 3


def test_a_bar_on_a_terminal() -> None:
    clock, stream = Clock(), Terminal()
    with ProgressLine(1_000, "sending", stream=stream, clock=clock) as line:
        clock.now = 1
        line.update(250, failed=2, note="waiting: [x] is away")
    shown = stream.getvalue()
    assert "sending" in shown
    assert "250/1,000 done, 2 failed" in shown
    assert "waiting: [x] is away" in shown
