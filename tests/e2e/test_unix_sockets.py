"""An engine behind a Unix socket, as a user meets it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.batches import input_file, numbered
from support.unix_sockets import socket_folder


def overnight(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "overnight", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@contextmanager
def engine(path: Path) -> Iterator[str]:
    """`overnight sim` on the socket; yields its URL."""
    command = [sys.executable, "-m", "overnight", "sim", "--uds", str(path), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            started = json.loads(process.stdout.readline())
            assert started["uds"] == str(path)
            yield started["base_url"]
        finally:
            process.terminate()
            process.wait(10)
    assert not path.exists()


def test_run_validate_and_doctor_find_it(tmp_path: Path) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(input_file(numbered(3)))
    with socket_folder() as folder, engine(folder / "engine.sock") as url:
        assert url == f"unix:{folder}/engine.sock:/v1"
        short = url.removesuffix(":/v1")
        done = overnight("run", source, "--output", output, "--upstream", short)
        assert done.returncode == 0, done.stderr
        assert len(output.read_text().splitlines()) == 3
        checked = overnight("validate", source, "--upstream", short)
        assert f"served by {url}" in checked.stdout
        absent = f"unix:{folder}/none.sock"
        place = ("--data-dir", tmp_path / "data")
        looked = overnight("doctor", *place, "--upstream", short, "--upstream", absent)
        assert f"{url} lists sim" in looked.stdout
        assert f"{absent}:/v1: has no such socket" in looked.stdout
        refused = overnight("sim", "--uds", source)
        assert (refused.returncode, refused.stderr.strip()) == (
            2,
            f"error: can not listen on {source}: it is there, and no socket",
        )
