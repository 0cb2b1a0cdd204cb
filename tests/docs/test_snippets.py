"""The README's programs and samples, run as they stand but for the host and port."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command_line import overnight
from support.sdk import run_script
from support.service import ServiceProcess, running_service
from support.sim import SimProcess, running_sim

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
SERVICE, UPSTREAM = "127.0.0.1:8024", "127.0.0.1:8000"

PROGRAMS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SAMPLE_IN, SAMPLE_OUT = re.findall(r"^```json\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def sdks_of(program: str) -> list[str]:
    """The first line says it: `# openai 1.x, 2.x and 3.x`."""
    first = program.splitlines()[0]
    product = re.match(r"# (together|openai) ", first)
    assert product, f"say which SDK it is for: {first}"
    return [f"{product[1]}-{major}" for major in re.findall(r"(\d)\.x", first)]


CASES = [(sdk, program) for program in PROGRAMS for sdk in sdks_of(program)]


@pytest.fixture(scope="module")
def engine() -> Iterator[SimProcess]:
    with running_sim() as running:
        yield running


@pytest.fixture(scope="module")
def service(
    engine: SimProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    with running_service(tmp_path_factory.mktemp("data"), engine.base_url) as running:
        yield running


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's folder with the sample in it."""
    (tmp_path / "prompts.jsonl").write_text(SAMPLE_IN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_is_a_program_for_each_product() -> None:
    assert {"together-1", "together-3", "openai-3"} <= {sdk for sdk, _ in CASES}


@pytest.mark.parametrize(("sdk", "program"), CASES, ids=[sdk for sdk, _ in CASES])
def test_a_program(service: ServiceProcess, folder: Path, sdk: str, program: str) -> None:
    assert program.count(SERVICE) == 1
    run_script(sdk, program.replace(SERVICE, service.base_url.removeprefix("http://")))
    said, sample = (one["response"]["body"] for one in (result(folder), json.loads(SAMPLE_OUT)))
    assert said["choices"] == sample["choices"]


def test_the_sample_is_what_the_command_writes(folder: Path) -> None:
    (command,) = re.findall(r"^overnight (run .*)$", README, re.MULTILINE)
    assert UPSTREAM in command
    with running_sim() as fresh:
        ended = overnight(*command.replace(UPSTREAM, f"127.0.0.1:{fresh.port}").split())
    assert ended.code == 0, ended.err
    assert (folder / "answers.jsonl").read_text() == SAMPLE_OUT


def result(folder: Path) -> dict[str, dict[str, dict[str, object]]]:
    (line,) = (folder / "answers.jsonl").read_text().splitlines()
    return json.loads(line)
