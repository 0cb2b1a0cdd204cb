"""The quickstart from its first command to its last prints what the page says it prints."""

from pathlib import Path

from support.ports import free_ports
from tools.walkthrough import PAGE, SERVICE_PORT, SIM_PORT, comparable, steps, walk


def test_every_command_of_the_quickstart(tmp_path: Path) -> None:
    page = PAGE.read_text()
    assert len(steps(page)) > 15
    sim, service = map(str, free_ports(2))
    for step, output in walk(page, tmp_path, {SIM_PORT: sim, SERVICE_PORT: service}):
        assert comparable(output) == comparable(step.output), step.command
