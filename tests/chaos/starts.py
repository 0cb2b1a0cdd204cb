"""Killed while it starts, in a folder that is not there yet."""

import signal
import subprocess
import time

from chaos.frame import Round, Scenario, send_signal
from chaos.recorder import Recorder, recording
from chaos.rivals import rival_of
from chaos.user import User, order
from chaos.verdict import Troubles, check_at_rest, check_log, check_orders
from support.service import ServiceProcess


def play(game: Round) -> None:
    """Folder, secret, schema and claims are made anew or found whole by whoever comes next."""
    chance, recorder = game.chance, Recorder(game.seed)
    with recording(recorder) as upstream:
        arguments = ("--upstream", upstream.base_url)
        service = ServiceProcess(game.folder / "data", arguments, errors=game.log)
        for _ in range(3 if game.brief else 8):
            game.tally.faults["kill while starting"] += 1
            kill_early(service, chance.uniform(0.1, 5.0))
        service.start()
        try:
            user = User(service.base_url, game.folder, [order(chance, "u", 500)])
            user.start()
            user.join()
        finally:
            code = service.stop()
    assert code == 0
    check_log(game.log)
    check_orders(user.orders, recorder, Troubles(), game.tally)
    check_at_rest(service.data_dir, user.orders)


def kill_early(service: ServiceProcess, after_seconds: float) -> None:
    """The supervisor alone: what it has begun to start hears of it by its pipe."""
    starting = rival_of(service)
    time.sleep(after_seconds)
    send_signal(starting.pid, signal.SIGKILL)
    try:
        # Its children write there too, so the end comes when they are gone.
        _, said = starting.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        raise AssertionError("what a killed start left is still there after 30 s") from None
    assert "Traceback" not in said, said


SCENARIOS = (Scenario("starts", play, seconds=30),)
