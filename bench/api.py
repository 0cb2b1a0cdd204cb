"""The service as its clients see it: plain HTTP over one connection, and who its processes are."""

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from bench.processes import family

BOUNDARY = "4fb1e7c2a0d94f5e8b6c"


def roles(supervisor_pid: int) -> dict[str, int]:
    """The pids of `api`, `clerk` and the (last) `worker` of a service."""
    found = {}
    for pid in family(supervisor_pid):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        if "overnight.node" in words:
            found[words[words.index("overnight.node") + 1]] = pid
    return found


class Client:
    """One connection, one request at a time; as cheap as what it measures allows."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._connection = http.client.HTTPConnection(place.hostname, place.port, timeout=120)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The body of the answer, which must be 200."""
        self._connection.request(method, path, body or None, dict(headers or {}))
        return self._read()

    def json(self, method: str, path: str, value: object = None) -> dict[str, object]:
        if value is None:
            return json.loads(self.ask(method, path))
        as_json = {"content-type": "application/json"}
        return json.loads(self.ask(method, path, json.dumps(value).encode(), as_json))

    def create_batch(self, file_id: object) -> str:
        wish = {"input_file_id": file_id, "endpoint": "/v1/chat/completions"}
        return str(
            self.json("POST", "/openai/v1/batches", wish | {"completion_window": "24h"})["id"]
        )

    def upload(self, source: Path) -> str:
        """In one request, as the OpenAI SDKs send it; the id of the file."""
        before, after = _form(source.name)
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        length = len(before) + source.stat().st_size + len(after)
        self._head("POST", "/openai/v1/files", {"content-type": kind, "content-length": length})
        self._send(source, before, after)
        return str(json.loads(self._read())["id"])

    def upload_in_steps(self, source: Path) -> str:
        """As the Together SDKs do: ask for a place, put the bytes there, confirm; its id."""
        fields = {"purpose": "batch-api", "file_name": source.name, "file_type": "jsonl"}
        as_form = {"content-type": "application/x-www-form-urlencoded"}
        self._connection.request("POST", "/together/v1/files", urlencode(fields), as_form)
        place = self._connection.getresponse()
        place.read()
        assert place.status == 302, place.status
        self._head("PUT", urlsplit(place.headers["location"]).path, _length(source))
        self._send(source)
        self._read()
        file_id = place.headers["x-together-file-id"]
        self.ask("POST", f"/together/v1/files/{file_id}/preprocess")
        return file_id

    def close(self) -> None:
        self._connection.close()

    def _head(self, method: str, path: str, headers: Mapping[str, object]) -> None:
        self._connection.putrequest(method, path)
        for name, value in headers.items():
            self._connection.putheader(name, str(value))
        self._connection.endheaders()

    def _send(self, source: Path, before: bytes = b"", after: bytes = b"") -> None:
        connection = self._connection.sock
        connection.sendall(before)
        with source.open("rb") as file:
            connection.sendfile(file)
        connection.sendall(after)

    def _read(self) -> bytes:
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (answer.status, body)
        return body


def _length(source: Path) -> dict[str, object]:
    return {"content-length": source.stat().st_size}


def _form(name: str) -> tuple[bytes, bytes]:
    """What stands before and after the bytes of the file."""
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="'
    before = f'{part}purpose"\r\n\r\nbatch\r\n{part}file"; filename="{name}"\r\n\r\n'
    return before.encode(), f"\r\n--{BOUNDARY}--\r\n".encode()
