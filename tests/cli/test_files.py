"""`overnight files …` against a service."""

import json
from pathlib import Path

import pytest

from overnight.cli.remote.results import local_name
from support.batch_server import SLOW, good_file
from support.command_line import Ended, overnight
from support.service import ServiceProcess
from support.stalled_server import stalled_server
from support.terminal import interrupted, on_terminal, started, without_controls


def files(server: ServiceProcess, *arguments: object) -> Ended:
    return overnight("files", *arguments, "--base-url", server.base_url)


def uploaded(server: ServiceProcess, path: Path) -> str:
    done = files(server, "upload", path)
    assert done.code == 0, done.err
    return done.out.strip()


def test_there_and_back(server: ServiceProcess) -> None:
    path = good_file(Path("in.jsonl"), 100)
    file_id = uploaded(server, path)
    done = files(server, "download", file_id, "--output", "back.jsonl")
    assert (done.code, done.out) == (0, "back.jsonl\n")
    assert Path("back.jsonl").read_bytes() == path.read_bytes()


def test_download_takes_its_own_name_and_replaces_nothing(server: ServiceProcess) -> None:
    path = good_file(Path("in.jsonl"))
    file_id = uploaded(server, path)
    refused = files(server, "download", file_id)
    assert refused.code == 2
    assert "in.jsonl exists already" in refused.err
    path.unlink()
    fetched = json.loads(files(server, "download", file_id, "--json").out)
    assert fetched == {"id": file_id, "path": "in.jsonl", "bytes": path.stat().st_size}


def test_show(server: ServiceProcess) -> None:
    path = good_file(Path("in.jsonl"))
    file_id = uploaded(server, path)
    shown = files(server, "show", file_id).out.splitlines()
    assert shown[0] == file_id
    assert ["name", "in.jsonl"] in [line.split() for line in shown]
    data = json.loads(files(server, "show", file_id, "--json").out)
    assert (data["id"], data["bytes"]) == (file_id, path.stat().st_size)


def test_list(server: ServiceProcess) -> None:
    newest = [uploaded(server, good_file(Path(f"{n}.jsonl"))) for n in range(3)][::-1]
    listed = json.loads(files(server, "list", "--limit", 3, "--json").out)
    assert [file["id"] for file in listed["files"]] == newest
    header, row = files(server, "list", "--limit", 1).out.splitlines()
    assert header.split("\t") == ["id", "name", "size", "age", "purpose"]
    size = Path("2.jsonl").stat().st_size
    fields = row.split("\t")
    assert fields[:3] + fields[4:] == [newest[0], "2.jsonl", str(size), "batch"]


@pytest.mark.parametrize("columns", [60, 80, 132])
def test_list_fits_the_terminal_with_whole_ids(server: ServiceProcess, columns: int) -> None:
    file_id = uploaded(server, good_file(Path(f"{'long' * 30}.jsonl")))
    options = ("files", "list", "--limit", 2, "--base-url", server.base_url)
    lines = without_controls(on_terminal(*options, columns=columns).out).splitlines()
    assert max(map(len, lines)) <= columns
    assert file_id in lines[1]
    assert "…" in lines[1]


def test_delete(server: ServiceProcess) -> None:
    file_id = uploaded(server, good_file(Path("in.jsonl")))
    assert files(server, "delete", file_id).out == f"{file_id}  deleted\n"
    assert files(server, "show", file_id).code == 2


def test_a_file_in_use_is_not_deleted(server: ServiceProcess) -> None:
    path = good_file(Path("in.jsonl"), model=SLOW)
    job = json.loads(overnight("submit", path, "--json", "--base-url", server.base_url).out)
    refused = files(server, "delete", job["input_file_id"])
    assert refused.code == 2
    assert "error: " in refused.err
    overnight("jobs", "cancel", job["id"], "--base-url", server.base_url)


def test_ctrl_c_while_uploading() -> None:
    path = good_file(Path("in.jsonl"), 1_000)
    with stalled_server() as stalled:
        process = started("files", "upload", path, "--base-url", stalled.base_url)
        stalled.wait_for_request()
        done = interrupted(process)
    assert done.code == 130
    assert done.err == "error: interrupted while uploading; there is no such file now\n"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("prompts.jsonl", "prompts.jsonl"),
        ("../../etc/passwd", "passwd"),
        ("C:\\data\\in.jsonl", "in.jsonl"),
        ("..", "file-1"),
        ("", "file-1"),
        ("/", "file-1"),
        ("a\x1b[2Jb", "file-1"),
        ("--output", "file-1"),
        (".bashrc", "file-1"),
    ],
)
def test_names_of_others_stay_in_this_folder(name: str, kept: str) -> None:
    assert local_name(name, "file-1") == kept
