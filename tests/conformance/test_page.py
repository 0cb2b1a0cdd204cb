"""The page of compatibility tells of the clients and steps there are, as they were run."""

from tests.conformance.catalogue import CLIENTS
from tests.conformance.report import REPORT
from tools.compatibility import PAGE, page, read

STALE = "stale: run `make test ARGS=tests/conformance`, then `python -m tools.compatibility`"


def test_the_report_is_of_these_clients_and_steps() -> None:
    wanted = {client.name: (client.column, client.steps) for client in CLIENTS}
    seen = {name: (row["client"], list(row["steps"])) for name, row in read(REPORT).items()}
    assert seen == wanted, STALE


def test_the_page_is_of_the_report() -> None:
    assert PAGE.read_text() == page(read(REPORT)), STALE


def test_names_are_unique() -> None:
    assert len({client.name for client in CLIENTS}) == len(CLIENTS)
