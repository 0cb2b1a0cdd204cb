"""Several services that want the same data folder: one gets it, and none harms it."""

import signal
import subprocess
import sys
import threading
import time
from typing import TypeAlias

from chaos.frame import Round, Scenario
from chaos.recorder import Recorder, recording
from chaos.stage import Stage, stage
from chaos.user import User, order
from chaos.verdict import Troubles, check_at_rest, check_orders
from overnight.supervisor.supervisor import RUN_FILE_NAME
from support.polling import is_alive, wait_for
from support.service import START_SECONDS_MAX, STOP_SECONDS, ServiceProcess

Rival: TypeAlias = subprocess.Popen[str]

USAGE = 2
REFUSAL_SECONDS_MAX = 60.0
"""A rival waits ten seconds for orphans to leave; the rest is a busy machine."""


def rival_of(service: ServiceProcess) -> Rival:
    command = [sys.executable, "-m", "overnight", "serve", "--json", "--port", "0"]
    command += ["--data-dir", str(service.data_dir), *service.arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def expect_refusal(rival: Rival) -> None:
    try:
        _, said = rival.communicate(timeout=REFUSAL_SECONDS_MAX)
    finally:
        rival.kill()
    assert rival.returncode == USAGE, f"it ended with {rival.returncode}: {said}"
    assert "in use by another Overnight" in said, said
    assert "--data-dir" in said, said


def play_rivals(game: Round) -> None:
    """Two come while jobs run; both are refused, and nobody else notices."""
    chance = game.chance
    orders = [[order(chance, f"u{user}", chance.randint(3_000, 6_000))] for user in range(3)]
    with stage(game, orders) as here:
        game.tally.faults["second serve"] += 2
        rivals = [rival_of(here.service) for _ in range(2)]
        for rival in rivals:
            expect_refusal(rival)
        assert all(map(is_alive, here.service.pids())), "a rival cost us a process"
        here.end(game)


def play_twins(game: Round) -> None:
    """Three that start at the same moment in a folder that is not there yet."""
    recorder = Recorder(game.seed)
    with recording(recorder) as upstream:
        service = ServiceProcess(game.folder / "data", ("--upstream", upstream.base_url))
        game.tally.faults["serve at the same moment"] += 3
        twins = [rival_of(service) for _ in range(3)]
        try:
            winner = wait_for(lambda: only_one_left(twins), REFUSAL_SECONDS_MAX, "two refusals")
            for twin in twins:
                if twin is not winner:
                    expect_refusal(twin)
            wait_for((service.data_dir / RUN_FILE_NAME).exists, START_SECONDS_MAX, "the start")
            wait_for(
                lambda: service.client.status_of("/readyz") == 200,
                START_SECONDS_MAX,
                "being ready",
            )
            user = User(service.base_url, game.folder, [order(game.chance, "u", 500)])
            user.start()
            user.join()
            winner.terminate()
            assert winner.wait(STOP_SECONDS) == 0
        finally:
            for twin in twins:
                twin.kill()
                twin.communicate()
    check_orders(user.orders, recorder, Troubles(), game.tally)
    check_at_rest(service.data_dir, user.orders)


def only_one_left(twins: list[Rival]) -> Rival | None:
    left = [twin for twin in twins if twin.poll() is None]
    assert left, "nobody got the folder"
    return left[0] if len(left) == 1 else None


def play_heirs(game: Round) -> None:
    """A successor waits at the lock while all of its predecessor is killed, or told to stop."""
    chance = game.chance
    orders = [[order(chance, f"u{user}j{job}", 1_500) for job in range(2)] for user in range(2)]
    with stage(game, orders) as here:
        for _ in range(3):
            succeed(here, chance.uniform(0.5, 2.5), gently=chance.random() < 0.5, game=game)
        here.end(game)


def succeed(here: Stage, after_seconds: float, *, gently: bool, game: Round) -> None:
    service, began = here.service, time.monotonic()
    predecessor, children = service.process, service.pids()
    assert predecessor is not None
    game.tally.faults[f"serve waits for a {'stop' if gently else 'kill'}"] += 1
    number = signal.SIGTERM if gently else signal.SIGKILL
    end = threading.Timer(after_seconds, predecessor.send_signal, (number,))
    end.start()
    try:
        service.start()
    finally:
        end.join()
        predecessor.wait(STOP_SECONDS)
    wait_for(lambda: not any(map(is_alive, children)), what="the predecessor's end")
    # Who was asked to stop had time to keep everything.
    if not gently:
        here.troubles.spans.append((began, time.monotonic()))


SCENARIOS = (
    Scenario("rivals", play_rivals, seconds=20),
    Scenario("twins", play_twins, seconds=15),
    Scenario("heirs", play_heirs, seconds=20),
)
