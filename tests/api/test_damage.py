"""Stored bytes that were altered are not served: not whole, not in part, not once."""

import http.client
from pathlib import Path

import pytest

from support.api_server import ApiServer

CONTENT = b"".join(b"line %06d\n" % number for number in range(40_000))
DAMAGED = 200_000
"""Where the altered byte is; blocks have 64 KiB."""


def damaged(folder: Path, file_id: str) -> None:
    path = folder / "files" / file_id
    data = bytearray(path.read_bytes())
    data[DAMAGED] ^= 1
    path.write_bytes(data)


def download(server: ApiServer, file_id: str, span: str | None = None) -> bytes:
    """Raises `IncompleteRead` when less comes than was announced."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        headers = {} if span is None else {"Range": f"bytes={span}"}
        connection.request("GET", f"/v1/files/{file_id}/content", headers=headers)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_a_damaged_block_ends_the_download_before_it(tmp_path: Path) -> None:
    with ApiServer(tmp_path) as server:
        file_id = server.upload(CONTENT)
        assert download(server, file_id) == CONTENT
        damaged(server.folder, file_id)
        for span in (None, f"{DAMAGED}-{DAMAGED}", f"{DAMAGED + 30_000}-", "65536-262143"):
            with pytest.raises((http.client.HTTPException, OSError)) as broken:
                download(server, file_id, span)
            if isinstance(broken.value, http.client.IncompleteRead):
                assert len(broken.value.partial) <= DAMAGED
        # What is sound can still be had.
        assert download(server, file_id, "0-1000") == CONTENT[:1001]
        assert download(server, file_id, "300000-300099") == CONTENT[300_000:300_100]


def test_a_file_of_another_length_is_refused_at_once(tmp_path: Path) -> None:
    with ApiServer(tmp_path) as server:
        file_id = server.upload(CONTENT)
        path = server.folder / "files" / file_id
        path.write_bytes(CONTENT[:-1])
        refused = server.ask("GET", f"/v1/files/{file_id}/content")
        assert refused.status == 500
        path.unlink()
        refused = server.ask("GET", f"/v1/files/{file_id}/content")
        assert refused.status == 500
