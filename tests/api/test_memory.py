"""Files pass through the API in bounded memory."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from support.api_server import Reply

SUPPORT = Path(__file__).parents[1]
BLOCK = bytes(range(256)) * 4096
BLOCKS = 200
GROWTH_MAX = 60 * 1024 * 1024


class ApiProcess:
    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.api_process", str(folder)],
            cwd=SUPPORT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self._read())

    def memory(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._read())

    def close(self) -> None:
        self._process.communicate(timeout=30)

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def ask(self, method: str, path: str, body: Iterator[bytes], kind: str) -> Reply:
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body, {"content-type": kind})
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, headers, answer.read())

    def digest_of(self, path: str) -> str:
        digest = hashlib.sha256()
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            while block := answer.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiProcess]:
    with closing(ApiProcess(tmp_path)) as process:
        yield process


def file_blocks() -> Iterator[bytes]:
    for _ in range(BLOCKS):
        yield BLOCK


def form_blocks(name: str = "file") -> Iterator[bytes]:
    disposition = f'Content-Disposition: form-data; name="{name}"; filename="a.jsonl"'
    yield f"--b\r\n{disposition}\r\n\r\n".encode()
    yield from file_blocks()
    yield b'\r\n--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n'


def whole_digest(times: int = 1) -> str:
    digest = hashlib.sha256()
    for _ in range(times):
        for block in file_blocks():
            digest.update(block)
    return digest.hexdigest()


def test_a_large_file_goes_through_in_little_memory(api: ApiProcess) -> None:
    before = api.memory()
    kind = "multipart/form-data; boundary=b"
    direct = str(api.ask("POST", "/v1/files", form_blocks(), kind).at("id"))
    fields = iter([b"purpose=batch-api&file_name=a.jsonl"])
    place = api.ask("POST", "/v1/files", fields, "application/x-www-form-urlencoded")
    path = place.headers["location"].split(str(api.port), 1)[1]
    assert api.ask("PUT", path, file_blocks(), "application/octet-stream").status == 200
    for file_id in (direct, place.headers["x-together-file-id"]):
        assert api.digest_of(f"/v1/files/{file_id}/content") == whole_digest()
    assert api.memory() - before < GROWTH_MAX


def test_a_large_file_is_joined_of_its_parts_in_little_memory(api: ApiProcess) -> None:
    before = api.memory()
    wish = {"bytes": 2 * BLOCKS * len(BLOCK), "filename": "a.jsonl", "purpose": "batch"}
    kind = "application/json"
    upload = api.ask("POST", "/v1/uploads", iter([json.dumps(wish).encode()]), kind)
    path = f"/v1/uploads/{upload.at('id')}"
    form = "multipart/form-data; boundary=b"
    parts = [api.ask("POST", f"{path}/parts", form_blocks("data"), form) for _ in range(2)]
    order = json.dumps({"part_ids": [part.at("id") for part in parts]}).encode()
    done = api.ask("POST", f"{path}/complete", iter([order]), kind)
    digest = api.digest_of(f"/v1/files/{done.at('file', 'id')}/content")
    assert digest == whole_digest(times=2)
    assert api.memory() - before < GROWTH_MAX
