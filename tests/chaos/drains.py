"""SIGTERM while requests are on their way: to the service, and to its workers in turn."""

import itertools
import signal
import time

from chaos.frame import Round, Scenario, send_signal
from chaos.recorder import Recorder
from chaos.stage import Stage, stage
from chaos.user import order
from chaos.verdict import leases_held
from support.polling import is_alive, wait_for

STOP_SECONDS_MAX = 10.0
"""As promised, whatever is on its way."""
SLACK_SECONDS = 5.0
"""What a busy machine may take on top."""
STANDSTILL_SECONDS_MAX = 10.0
"""Between two requests, while a worker hands over to another."""


SLOW = (0.5, 2 * STOP_SECONDS_MAX)


def play_drains(game: Round) -> None:
    """All slots wait for an upstream that takes up to twice as long as a stop may.

    What is answered during the drain is kept. The rest is given up, and sent again by the next.
    """
    chance = game.chance
    orders = [[order(chance, f"u{user}", 20, may_cancel=False)] for user in range(2)]
    with stage(game, orders, recorder=Recorder(game.seed, SLOW)) as here:
        for _ in range(1 if game.brief else 2):
            wait_for(lambda: here.recorder.in_flight >= 10, what="requests on their way")
            time.sleep(chance.uniform(0.0, 1.0))
            stop(here, impatient=False, game=game)
            here.service.start()
        wait_for(lambda: here.recorder.in_flight >= 5, what="requests on their way")
        stop(here, impatient=True, game=game)
        here.recorder.latency_seconds = (0.01, 0.1)
        here.service.start()
        here.end(game)


def stop(here: Stage, *, impatient: bool, game: Round) -> None:
    """SIGTERM, and once more (or Ctrl-C) by who can not wait: then it is a kill."""
    process = here.service.process
    assert process is not None
    children, began = here.service.pids(), time.monotonic()
    game.tally.faults["SIGTERM twice" if impatient else "SIGTERM"] += 1
    process.send_signal(signal.SIGTERM)
    if impatient:
        time.sleep(0.5)
        began = time.monotonic()
        process.send_signal(game.chance.choice((signal.SIGTERM, signal.SIGINT)))
    expect_end(here, children, began, 2.0 if impatient else STOP_SECONDS_MAX)


def expect_end(here: Stage, children: list[int], began: float, seconds_max: float) -> None:
    process = here.service.process
    assert process is not None
    code = process.wait(STOP_SECONDS_MAX + SLACK_SECONDS)
    ended = time.monotonic()
    assert code == 0, f"it ended with {code}"
    assert ended - began < seconds_max + SLACK_SECONDS
    assert not any(map(is_alive, children)), "children outlive an orderly stop"
    # Only what was still on its way may be sent again.
    here.troubles.spans.append((ended, ended))


def play_stuck(game: Round) -> None:
    """A child is frozen, as by a disk that does not answer, when the service is asked to stop."""
    chance = game.chance
    orders = [[order(chance, f"u{user}", 2_000)] for user in range(2)]
    with stage(game, orders) as here:
        time.sleep(chance.uniform(0.2, 1.0))
        role = chance.choice(("api", "clerk", "worker"))
        game.tally.faults[f"SIGTERM with a frozen {role}"] += 1
        children, began = here.service.pids(), time.monotonic()
        send_signal(here.service.pid_of(role), signal.SIGSTOP)
        send_signal(here.service.pid, signal.SIGTERM)
        expect_end(here, children, began, STOP_SECONDS_MAX)
        here.troubles.spans.append((began, time.monotonic()))
        here.service.start()
        here.end(game)


def play_rolling(game: Round) -> None:
    """Each worker is asked to leave, one after another, again and again, during a job."""
    chance, turns = game.chance, 1 if game.brief else 3
    orders = [[order(chance, f"u{user}", 2_500 * turns, may_cancel=False)] for user in range(2)]
    with stage(game, orders, "--workers", "2") as here:
        for _ in range(turns):
            for victim in here.service.pids("worker"):
                replace(here, victim, game)
        assert not all(user.is_done for user in here.users), "all was done before it began"
        here.end(game)
        assert game.tally.sent_again == 0
        check_standstill(here)


def replace(here: Stage, victim: int, game: Round) -> None:
    """Returns when its successor is at work too."""
    service = here.service
    game.tally.faults["SIGTERM worker"] += 1
    send_signal(victim, signal.SIGTERM)
    wait_for(lambda: not is_alive(victim), STOP_SECONDS_MAX + SLACK_SECONDS, "a worker's end")
    wait_for(
        lambda: len(pids := service.pids("worker")) == 2 and victim not in pids,
        what="its successor",
    )
    wait_for(lambda: leases_held(service.data_dir) == 3, 30, "its successor's lease")


def check_standstill(here: Stage) -> None:
    began = sorted(one.began for sent in here.recorder.sendings.values() for one in sent)
    longest = max(later - earlier for earlier, later in itertools.pairwise(began))
    assert longest < STANDSTILL_SECONDS_MAX, f"nothing was sent for {longest:.1f} s"


SCENARIOS = (
    Scenario("drains", play_drains, seconds=45),
    Scenario("stuck", play_stuck, seconds=25),
    Scenario("rolling", play_rolling, seconds=30),
)
