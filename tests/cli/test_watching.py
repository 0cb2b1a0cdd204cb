"""How often a watched job is asked for, and how long a server may be away."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import pytest

from overnight.cli.remote.watching import AWAY_SECONDS_MAX, Pace, is_passing, watched
from overnight.client.client import Client
from overnight.client.errors import BadReply, ClientError, Refused, Unreachable
from overnight.client.views import JobView

RUNNING = JobView("batch_1", "in_progress", total=10, succeeded=1, failed=0)
DONE = JobView("batch_1", "completed", total=10, succeeded=10, failed=0)
GONE = Unreachable("http://x/v1 does not answer")


@dataclass
class Answers:
    """A client that gives what it is told to, one answer each time, the last one for good."""

    script: list[JobView | ClientError]
    asked: int = 0

    def job(self, _job_id: str) -> JobView:
        answer = self.script[min(self.asked, len(self.script) - 1)]
        self.asked += 1
        if isinstance(answer, ClientError):
            raise answer
        return answer


@dataclass
class Time:
    now: float = 100.0
    pauses: list[float] = field(default_factory=list)

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    @property
    def pace(self) -> Pace:
        return Pace(lambda: self.now, self.pause)


def watch(*script: JobView | ClientError, time: Time | None = None) -> JobView:
    return watched(cast("Client", Answers(list(script))), RUNNING, (time or Time()).pace)


@pytest.fixture(autouse=True)
def _quiet(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    capsys.readouterr()


def test_it_asks_often_at_first_and_later_less_often() -> None:
    time = Time()
    watch(*[RUNNING] * 400, DONE, time=time)
    assert time.pauses == sorted(time.pauses)
    assert (time.pauses[0], time.pauses[20], time.pauses[-1]) == (0.25, 1.0, 5.0)
    assert time.pauses.count(1.0) > 20


def test_a_server_may_be_away_for_a_while() -> None:
    assert watch(GONE, GONE, Refused("x", status=503), RUNNING, GONE, DONE) == DONE


def test_but_not_forever() -> None:
    time = Time()
    with pytest.raises(Unreachable):
        watch(GONE, time=time)
    away = time.now - 100.0
    assert AWAY_SECONDS_MAX < away <= AWAY_SECONDS_MAX + 5


def test_each_answer_gives_it_another_ten_minutes() -> None:
    time = Time()
    assert watch(*[*[GONE] * 120, RUNNING] * 5, DONE, time=time) == DONE
    assert time.now - 100.0 > AWAY_SECONDS_MAX


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_is_not_waited_out(status: int) -> None:
    with pytest.raises(Refused):
        watch(Refused("no", status=status), DONE)


def test_which_failures_pass() -> None:
    assert is_passing(GONE)
    assert is_passing(Refused("x", status=429))
    assert not is_passing(BadReply("x"))


def test_the_note_says_that_the_server_is_away(capsys: pytest.CaptureFixture[str]) -> None:
    watch(GONE, DONE)
    assert "the server does not answer, trying again" in capsys.readouterr().err
