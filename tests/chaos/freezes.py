"""SIGSTOP for longer than a lease, and SIGCONT: a zombie that believes to be alive."""

import signal
import time

from chaos.frame import Round, Scenario, send_signal
from chaos.stage import Stage, stage
from chaos.user import order
from chaos.verdict import leases_held
from support.polling import is_alive, wait_for

LEASE_SECONDS = 3
"""The shortest there is."""

WORKERS = 2
ROLES = ("worker", "worker", "clerk", "api", "supervisor")


def play(game: Round) -> None:
    chance, freezes = game.chance, 1 if game.brief else 4
    orders = [
        [order(chance, f"u{user}j{job}", chance.randint(500, 2_500)) for job in range(2)]
        for user in range(1 if game.brief else 4)
    ]
    with stage(game, orders, "--workers", str(WORKERS), lease_seconds=LEASE_SECONDS) as here:
        for number in range(freezes):
            time.sleep(chance.uniform(0.05, 1.0))
            role = "worker" if number == 0 else chance.choice(ROLES)
            freeze(here, role, chance.choice((0.5, 3.5, 5.0)) if number else 4.0, game)
        here.end(game)


def freeze(here: Stage, role: str, seconds: float, game: Round) -> None:
    """One process, which has a lease of its own if it works."""
    service = here.service
    # Who is only starting has no lease to lose.
    wait_for(lambda: leases_held(service.data_dir) == 1 + WORKERS, 30, "everybody's lease")
    pids = [service.pid] if role == "supervisor" else service.pids(role)
    victim = game.chance.choice(sorted(pids))
    long = seconds > LEASE_SECONDS
    game.tally.faults[f"freeze {role} {'beyond' if long else 'within'} the lease"] += 1
    began = time.monotonic()
    send_signal(victim, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        send_signal(victim, signal.SIGCONT)
    if long and role in ("worker", "clerk"):
        wait_for(lambda: not is_alive(victim), what=f"the end of a {role} that was declared dead")
    # Within its lease it lost nothing, and nothing may be sent again.
    if long and role == "worker":
        here.troubles.spans.append((began, time.monotonic()))


SCENARIOS = (Scenario("freezes", play, seconds=35, in_tests=True),)
