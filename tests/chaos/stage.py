"""A service before an upstream that records, and users at work."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from chaos.frame import Round
from chaos.recorder import Recorder, recording
from chaos.user import Order, User
from chaos.verdict import Troubles, check_at_rest, check_log, check_orders
from support.ports import free_port
from support.service import ServiceProcess, running_service

IN_FLIGHT = 16


@dataclass(frozen=True, slots=True)
class Stage:
    """A service before a recording upstream, and users who have begun."""

    service: ServiceProcess
    recorder: Recorder
    users: list[User]
    troubles: Troubles

    @property
    def orders(self) -> list[Order]:
        return [order for user in self.users for order in user.orders]

    def end(self, game: Round) -> None:
        """Let the users finish, stop the service, and check all there is."""
        for user in self.users:
            user.join()
        assert self.service.stop() == 0
        check_log(game.log)
        check_orders(self.orders, self.recorder, self.troubles, game.tally)
        check_at_rest(self.service.data_dir, self.orders)


@contextmanager
def stage(
    game: Round,
    orders: list[list[Order]],
    *arguments: str,
    recorder: Recorder | None = None,
    **settings: object,
) -> Iterator[Stage]:
    """One user for each list of orders, all started. The port is the same after a restart."""
    inputs = game.folder / "users"
    inputs.mkdir()
    recorder = recorder or Recorder(game.seed, error_rate=game.chance.choice((0, 0, 0.01)))
    port = free_port()
    flags = ("--port", str(port), "--max-in-flight", str(IN_FLIGHT), *arguments)
    with (
        recording(recorder) as upstream,
        running_service(
            game.folder / "data", upstream.base_url, *flags, errors=game.log, **settings
        ) as service,
    ):
        users = [User(f"http://127.0.0.1:{port}", inputs, each) for each in orders]
        for user in users:
            user.start()
        yield Stage(service, recorder, users, Troubles())
