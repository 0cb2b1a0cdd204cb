"""The API on a loopback port, with its own database and folder, served from a thread.

with ApiServer(tmp_path) as server:
    reply = server.ask("GET", "/v1/batches")
    assert reply.status == 200
"""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self, TypeVar

from sqlalchemy import Connection

from overnight.api.app import ApiOptions, Services, create_app
from overnight.api.patience import Patience
from overnight.api.server import serve
from overnight.domain.dialect import Dialect
from overnight.seams import Seams
from overnight.service.files import Files, FilesOptions
from overnight.service.health import Health
from overnight.service.jobs import Jobs
from overnight.service.keyring import Keyring
from overnight.service.part_uploads import PartUploads
from overnight.service.submission import JobsOptions
from overnight.service.webhooks.courier import Courier, CourierOptions
from overnight.service.webhooks.endpoints import Webhooks
from overnight.store.blobs import Blobs
from overnight.store.database import Database
from overnight.store.migrate import migrate

T = TypeVar("T")

TOGETHER = {"user-agent": "Together/Python 3.1.1"}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, its header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> object:
        return json.loads(self.body)

    def at(self, *path: str | int) -> object:
        """The value at a path into the JSON body."""
        value = self.json()
        for key in path:
            value = value[key]  # type: ignore[index]
        return value


@dataclass
class ApiServer:
    """All but the folder is what a test wants to be different; `api_keys` are the settings'."""

    folder: Path
    api_keys: tuple[str, ...] = ()
    dialect: Dialect = Dialect.OPENAI
    files: FilesOptions = field(default_factory=lambda: FilesOptions(secret=b"s" * 32))
    jobs: JobsOptions = field(default_factory=JobsOptions)
    public_url: str | None = None
    courier: CourierOptions = field(default_factory=CourierOptions)
    seams: Seams = field(default_factory=Seams)
    patience: Patience = field(default_factory=Patience)

    def __enter__(self) -> Self:
        self.folder.mkdir(exist_ok=True)
        path = self.folder / "overnight.sqlite3"
        path.write_bytes(_empty_database())
        self.database = Database(path, self.seams.threads("database"))
        self.blobs = Blobs(self.folder, self.seams.disk)
        self.blobs.make_folders()
        # From its descriptor, as the real one: only then does asyncio see that it is TCP and
        # send without Nagle's delay.
        listener = socket.socket(fileno=socket.create_server(("127.0.0.1", 0)).detach())
        self.port: int = listener.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}"
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(listener)))
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    async def _serve(self, listener: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        files = Files(self.database, self.blobs, self.seams, self.files)
        part_uploads = PartUploads(self.database, self.blobs, self.seams, self.files)
        await files.clear_incoming()
        jobs = Jobs(self.database, self.blobs, self.seams, self.jobs)
        health = Health(self.database, self.blobs, self.seams)
        keyring = Keyring(self.database, self.seams.clock, self.api_keys)
        webhooks = Webhooks(self.database, self.seams, Courier(self.seams, self.courier), 20)
        self.services = Services(
            files, part_uploads, jobs, webhooks, health, keyring, self.seams.chance
        )
        app = create_app(self.services, ApiOptions(self.public_url, self.dialect))
        self._ready.set()
        await serve(app, listener, self._stop, self.seams.chance, self.patience)
        files.close()
        part_uploads.close()
        await self.database.close()

    def store(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction, to bring about what other processes would."""
        return asyncio.run_coroutine_threadsafe(self.database.write(work), self._loop).result(10)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request on a connection of its own."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, names, answer.read())

    def post_json(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> Reply:
        named = {"content-type": "application/json"} | dict(headers or {})
        return self.ask("POST", path, json.dumps(body).encode(), named)

    def upload(self, data: bytes = b"{}\n", name: str = "in.jsonl", purpose: str = "batch") -> str:
        """A file in one request; its id."""
        reply = self.ask("POST", "/v1/files", *form({"purpose": purpose}, data, name))
        assert reply.status == 200, reply
        return str(reply.at("id"))


@cache
def _empty_database() -> bytes:
    """Made once: migrating takes longer than most tests."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "empty.sqlite3"
        migrate(path)
        return path.read_bytes()


def form(
    fields: Mapping[str, str], data: bytes | None = None, name: str = "in.jsonl"
) -> tuple[bytes, dict[str, str]]:
    """A multipart body, the file last, and the headers for it."""
    parts = [
        f'--bound\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    if data is not None:
        disposition = f'Content-Disposition: form-data; name="file"; filename="{name}"'
        parts.append(f"--bound\r\n{disposition}\r\n\r\n".encode() + data + b"\r\n")
    body = b"".join(parts) + b"--bound--\r\n"
    return body, {"content-type": "multipart/form-data; boundary=bound"}
