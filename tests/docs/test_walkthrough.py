"""The quickstart from its first command to its last prints what the page says it prints."""

import socket
from contextlib import ExitStack, closing
from pathlib import Path

from tools.walkthrough import PAGE, comparable, steps, walk

SIM, SERVICE = "8000", "8024"


def free_ports(count: int) -> list[str]:
    with ExitStack() as stack:
        listeners = [
            stack.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
            for _ in range(count)
        ]
        return [str(listener.getsockname()[1]) for listener in listeners]


def test_every_command_of_the_quickstart(tmp_path: Path) -> None:
    page = PAGE.read_text()
    assert len(steps(page)) > 15
    sim, service = free_ports(2)
    for step, output in walk(page, tmp_path, {SIM: sim, SERVICE: service}):
        assert comparable(output) == comparable(step.output), step.command
