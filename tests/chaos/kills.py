"""kill -9 at any moment, of any process or all of them, while users are at work."""

import time

from chaos.frame import Round, Scenario
from chaos.stage import Stage, stage
from chaos.user import order

VICTIMS = ("api", "clerk", "worker", "worker", "supervisor", "everything")


def play(game: Round) -> None:
    chance, kills = game.chance, 2 if game.brief else 8
    orders = [
        [order(chance, f"u{user}j{job}", chance.randint(200, 1_500)) for job in range(2)]
        for user in range(1 if game.brief else 4)
    ]
    with stage(game, orders, "--workers", str(chance.choice((1, 2)))) as here:
        for _ in range(kills):
            time.sleep(chance.uniform(0.05, 1.0))
            kill(here, chance.choice(VICTIMS), game)
        here.end(game)


def kill(here: Stage, victim: str, game: Round) -> None:
    service, began = here.service, time.monotonic()
    game.tally.faults[f"kill {victim}"] += 1
    match victim:
        case "supervisor":
            service.kill_supervisor()
        case "everything":
            service.kill_everything()
        case role:
            service.kill(role)
    if victim not in ("api", "clerk"):
        here.troubles.spans.append((began, time.monotonic()))
    if victim in ("supervisor", "everything"):
        service.start()


SCENARIOS = (Scenario("kills", play, seconds=25, in_tests=True),)
