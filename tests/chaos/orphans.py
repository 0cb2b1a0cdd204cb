"""The supervisor killed alone: its children leave before the next service begins."""

import signal
import time
from pathlib import Path

from chaos.frame import Round, Scenario, send_signal
from chaos.stage import Stage, stage
from chaos.user import order
from support.polling import is_alive, wait_for


def play(game: Round) -> None:
    chance = game.chance
    orders = [[order(chance, f"u{user}j{job}", 1_500) for job in range(2)] for user in range(2)]
    with stage(game, orders, "--workers", "2") as here:
        for number in range(1 if game.brief else 4):
            time.sleep(chance.uniform(0.2, 1.0))
            frozen = chance.choice(("worker", "clerk", "api")) if number % 2 else None
            replace_at_once(here, frozen, game)
        here.end(game)


def replace_at_once(here: Stage, frozen: str | None, game: Round) -> None:
    """The next service starts while the orphans are still leaving.

    One that is frozen can not leave, but must not wake up later either. The kernel sees to that:
    each child is a process group of its own, and an orphaned group that is stopped gets SIGHUP.
    """
    service, orphans, began = here.service, here.service.pids(), time.monotonic()
    game.tally.faults["kill supervisor" + (f" of a frozen {frozen}" if frozen else "")] += 1
    if frozen is not None:
        victim = service.pid_of(frozen)
        send_signal(victim, signal.SIGSTOP)
        # Who stops only when it is an orphan already is not woken by anybody.
        wait_for(lambda: is_stopped(victim), what=f"the {frozen}'s standstill")
    send_signal(service.pid, signal.SIGKILL)
    assert service.process is not None
    service.process.wait()
    service.start()
    assert not any(map(is_alive, orphans)), "orphans work beside the next service"
    here.troubles.spans.append((began, time.monotonic()))


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


SCENARIOS = (Scenario("orphans", play, seconds=40),)
