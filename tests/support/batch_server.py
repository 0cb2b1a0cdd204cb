"""A service with two simulated engines, for commands that talk to a server.

The model `sim` answers at once; `slow` does not answer within any test.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.batches import input_file, input_line, numbered
from support.service import ServiceProcess, running_service
from support.sim import running_sim

FAST = "sim"
SLOW = "slow"


@contextmanager
def running_batch_server(data_dir: Path, *arguments: str) -> Iterator[ServiceProcess]:
    with (
        running_sim("--model", FAST) as fast,
        running_sim("--model", SLOW, "--latency-ms", "600000") as slow,
        running_service(
            data_dir,
            fast.base_url,
            *("--upstream", slow.base_url),
            *arguments,
            cancel_grace_seconds=0.1,
        ) as service,
    ):
        yield service


def good_file(path: Path, count: int = 3, model: str = FAST) -> Path:
    path.write_bytes(input_file(numbered(count), model=model))
    return path


def partly_failing_file(path: Path) -> Path:
    """Three requests; the engine refuses one of them for good."""
    path.write_bytes(
        input_file(numbered(2)) + input_line("bad", messages="the engine wants a list")
    )
    return path


def faulty_file(path: Path) -> Path:
    """The second line repeats the id of the first."""
    path.write_bytes(input_line("same") + input_line("same"))
    return path
