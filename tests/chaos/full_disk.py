"""The disk runs full at every stage of a job, and after a while there is room again."""

import os
import signal
import subprocess
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from chaos.frame import NotHere, Round, Scenario, send_signal
from support.batches import BatchClient, input_file, numbered
from support.polling import wait_for
from support.service import ServiceProcess, running_service
from support.sim import SimProcess, running_sim

DISK_BYTES: Final = 24 * 1024**2
FULL_SECONDS: Final = 3.0
BLOCK: Final = bytes(64 * 1024)
TOLD: Final = "waiting: the disk is full"
WHOLE_SECONDS: Final = 120


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system in memory, gone at the end. Raises `NotHere`."""
    place = folder / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotHere("mounting a small file system takes root on Linux") from error
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextmanager
def full(disk: Path, game: Round, stage: str) -> Iterator[None]:
    """To the last byte."""
    game.tally.faults[f"disk full, {stage}"] += 1
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for block in (BLOCK, bytes(512), b"."):
            with suppress(OSError):
                while True:
                    file.write(block)
    try:
        yield
        time.sleep(FULL_SECONDS)
    finally:
        ballast.unlink()


@contextmanager
def frozen_clerk(service: ServiceProcess) -> Iterator[None]:
    pid = service.pid_of("clerk")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        send_signal(pid, signal.SIGCONT)


def play(game: Round) -> None:
    with (
        small_disk(game.folder) as disk,
        running_sim("--latency-ms", "20") as sim,
        running_service(
            disk / "data", sim.base_url, "--max-in-flight", "16", errors=game.log
        ) as service,
    ):
        stages = [while_uploading, while_validating, while_sending, while_publishing]
        for stage in stages:
            stage(service, sim, disk, game)
        game.tally.sent_again += int(sim.stats()["repeated"])
        assert service.stop() == 0
        left = {path.name for path in (disk / "data" / "incoming").iterdir()}
        assert not left, f"left in incoming: {left}"
        assert not list((disk / "data" / "jobs").iterdir())


def while_uploading(service: ServiceProcess, _: SimProcess, disk: Path, game: Round) -> None:
    client, before = service.client, _files(disk)
    content = input_file(numbered(2_000, "upload-"))
    with full(disk, game, "uploading"):
        assert _status(lambda: client.upload(content)) == 503
        assert client.status_of("/readyz") == 503
        assert client.status_of("/healthz") == 200
        assert client.status_of("/v1/files") == 200
    assert _files(disk) == before, "what was refused is still there"
    _finish(client, client.submit(content), numbered(2_000, "upload-"), game)


def while_validating(service: ServiceProcess, _: SimProcess, disk: Path, game: Round) -> None:
    client, ids = service.client, numbered(2_000, "validate-")
    with ExitStack() as trouble:
        with frozen_clerk(service):
            batch_id = client.submit(input_file(ids))
            trouble.enter_context(full(disk, game, "validating"))
        _wait_for_the_word(client, batch_id)
    _finish(client, batch_id, ids, game)


def while_sending(service: ServiceProcess, sim: SimProcess, disk: Path, game: Round) -> None:
    client, ids = service.client, numbered(4_000, "send-")
    batch_id = client.submit(input_file(ids))
    wait_for(lambda: client.finished(batch_id) > 100, what="the sending")
    with full(disk, game, "sending"):
        _wait_for_the_word(client, batch_id)
        time.sleep(1.0)
        before = sim.stats()["requests"]
        time.sleep(1.0)
        assert sim.stats()["requests"] <= before + 16, "it sends what it can not write down"
        # A new batch needs a row: it is refused for now.
        file_id = client.get(batch_id)["input_file_id"]
        assert _status(lambda: client.create(file_id)) == 503
    _finish(client, batch_id, ids, game)


def while_publishing(service: ServiceProcess, _: SimProcess, disk: Path, game: Round) -> None:
    client, ids = service.client, numbered(1_500, "publish-")
    batch_id = client.submit(input_file(ids))
    client.wait_for_status(batch_id, "in_progress")
    with ExitStack() as trouble:
        with frozen_clerk(service):
            client.wait_for_status(batch_id, "finalizing")
            trouble.enter_context(full(disk, game, "publishing"))
        _wait_for_the_word(client, batch_id)
        assert client.get(batch_id)["status"] == "finalizing"
    _finish(client, batch_id, ids, game)


def _wait_for_the_word(client: BatchClient, batch_id: str) -> None:
    wait_for(lambda: TOLD in str(client.look(batch_id)), what=f"{batch_id} to say why it waits")


def _finish(client: BatchClient, batch_id: str, ids: list[str], game: Round) -> None:
    """By itself, now that there is room; and make room for the next."""
    results = client.results(batch_id, WHOLE_SECONDS)
    game.tally.jobs += 1
    game.tally.requests += len(ids)
    game.tally.missing += results.missing(ids)
    game.tally.twice += results.repeated()
    assert results.batch["status"] == "completed", results.batch
    results.assert_whole(ids)


def _files(disk: Path) -> int:
    """Bytes in files and in what is arriving."""
    folders = (disk / "data" / "files", disk / "data" / "incoming")
    return sum(path.stat().st_size for folder in folders for path in folder.iterdir())


def _status(ask: Callable[[], object]) -> int:
    try:
        ask()
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return refusal.code
    return 200


SCENARIOS = (Scenario("full disk", play, seconds=60),)
