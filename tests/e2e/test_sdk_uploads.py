"""Every official SDK that sends large files in parts, unchanged."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from overnight.store.tables import uploads
from support.api_server import ApiServer
from support.sdk import run_script

SCRIPTS = Path(__file__).parent / "sdk_scripts"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three whole parts of a MiB and a bit, no two of them the same."""
    path = tmp_path_factory.mktemp("input") / "lärge.jsonl"
    path.write_bytes(random.Random(1).randbytes(3 * 1024**2 + 77))
    return path


@pytest.mark.parametrize(("sdk", "ways"), [("together-1", 1), ("together-2", 2), ("together-3", 2)])
def test_together_sends_large_files_in_parts(
    server: ApiServer, source: Path, sdk: str, ways: int
) -> None:
    ended = run_script(sdk, SCRIPTS / "together_multipart.py", server.base_url, str(source))
    seen = json.loads(ended.stdout.splitlines()[-1])
    assert (seen["bytes"], seen["name"]) == (source.stat().st_size, source.name)
    assert len(seen["files"]) == ways
    for file_id in seen["files"]:
        content = server.ask("GET", f"/v1/files/{file_id}/content")
        assert content.body == source.read_bytes()
        query = select(uploads.c.parts_max).where(uploads.c.file_id == file_id)
        assert server.store(lambda tx, query=query: tx.scalar(query)) == 4, "not in parts"


@pytest.mark.parametrize("sdk", ["openai-1", "openai-2", "openai-3"])
def test_openai_uploads(server: ApiServer, source: Path, sdk: str) -> None:
    ended = run_script(sdk, SCRIPTS / "openai_uploads.py", server.base_url, str(source))
    seen = json.loads(ended.stdout.splitlines()[-1])
    assert len(set(seen["files"])) == 4
    assert seen["refused"] == ["upload_cancelled", "pending", "0"]
