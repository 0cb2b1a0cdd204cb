"""Worlds from fixed seeds, and as many fresh ones as time allows."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulation.__main__ import failure
from simulation.machine import simulate
from simulation.mutants import plant
from simulation.planted import MUTANTS
from support.memory_disk import MemoryDisk

ROOT = Path(__file__).resolve().parents[2]
FRESH_SECONDS = 6.0


@pytest.mark.parametrize("seed", range(6))
def test_every_rule_is_kept(seed: int) -> None:
    report = simulate(seed)
    assert not report.violations, failure(report)
    assert report.counts["requests: sent"] >= 1


def test_every_rule_is_kept_in_fresh_worlds() -> None:
    until = time.monotonic() + FRESH_SECONDS
    while time.monotonic() < until:
        report = simulate(random.SystemRandom().randrange(10**9))
        assert not report.violations, failure(report)


def test_a_seed_is_the_same_world_each_time() -> None:
    """In another process too, where objects and strings have other hashes."""
    seed = 12
    here = simulate(seed)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.simulation", f"--seed={seed}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"seed {seed}: {here.digest}\n" in ended.stdout
    assert simulate(2).digest != here.digest


def test_every_mutant_can_still_be_planted(tmp_path: Path) -> None:
    for number, mutant in enumerate(MUTANTS):
        source = tmp_path / str(number)
        for name, _, _ in mutant.edits:
            copy = source / "overnight" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text((ROOT / "src" / "overnight" / name).read_text())
        plant(mutant, source)


# What a power loss does to the disk in memory


def after_power_losses(disk: MemoryDisk, path: Path) -> set[bytes | None]:
    """All that may be found at `path`."""
    found: set[bytes | None] = set()
    for seed in range(200):
        world = MemoryDisk()
        world.files, world._named = dict(disk.files), dict(disk._named)
        world.lose_power(random.Random(seed))
        data = world.files.get(path)
        found.add(None if data is None else bytes(data))
    return found


def test_what_is_synced_and_named_survives() -> None:
    disk, path = MemoryDisk(), Path("folder/file")
    file = disk.create(Path("folder/draft"))
    file.append([b"safe"])
    file.datasync()
    assert None in after_power_losses(disk, Path("folder/draft"))
    disk.publish(Path("folder/draft"), path)
    assert after_power_losses(disk, path) == {b"safe"}
    assert disk.safe(path) == b"safe"


def test_what_is_not_synced_is_lost_torn_kept_or_blank() -> None:
    disk, path = MemoryDisk(), Path("folder/file")
    file = disk.create(Path("folder/draft"))
    disk.publish(Path("folder/draft"), path)
    file.append([b"ab"])
    file.datasync()
    file.append([b"cd"])
    found = after_power_losses(disk, path)
    assert found == {b"ab", b"abc", b"abcd", b"ab\0\0", b"ab\0d", b"abc\0"}
    assert disk.safe(path) == b"ab"


def test_what_a_sync_failed_to_write_is_never_written() -> None:
    disk, path = MemoryDisk(), Path("folder/file")
    file = disk.create(Path("folder/draft"))
    disk.publish(Path("folder/draft"), path)
    disk.broken = True
    file.append([b"ab"])
    with pytest.raises(OSError, match="broken"):
        file.datasync()
    disk.broken = False
    file.append([b"cd"])
    file.datasync()
    assert after_power_losses(disk, path) == {b"\0\0cd"}
    assert disk.safe(path) == b""
