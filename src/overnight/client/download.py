"""Downloads that survive a cut connection, and appear whole or not at all."""

import fcntl
import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx2

from overnight.client.content import on_this_machine
from overnight.client.errors import BadReply, ClientError, Refused
from overnight.client.failures import not_json, unreachable
from overnight.client.transport import Transport

_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+)")

OnBytes = Callable[[int, int | None], None]
"""Told how many bytes there are so far, and how many there will be if the server says so."""


@dataclass(frozen=True, slots=True)
class Download:
    """What is fetched lies in `TO.<file id>.part` until it is whole.

    The id in that name is what makes going on safe: servers never change the bytes of a file, so
    a part of this name is the beginning of this file.
    """

    transport: Transport
    path: str
    """Of the content, on the server."""
    file_id: str
    to: Path
    on_bytes: OnBytes

    @property
    def part(self) -> Path:
        return self.to.with_name(f"{self.to.name}.{quote(self.file_id, safe='')}.part")

    def run(self) -> int:
        """The length in bytes. Raises `ClientError`, and then keeps what it has."""
        if not self.to.parent.is_dir():
            raise ClientError(
                f"{self.to}: {self.to.parent} is no folder.", "Give the name of a file."
            )
        if self.to.exists() and not self.to.is_file():
            # By rename the file would take the place of a device.
            raise ClientError(f"{self.to} is not a plain file.", "Give the name of a file.")
        with _held(self.part) as part:
            try:
                length = self._fetch(part)
                with on_this_machine(self.to):
                    os.fsync(part.fileno())
                    self.part.replace(self.to)
                    _sync_folder(self.to.parent)
                return length
            finally:
                if _size(part) == 0:
                    self.part.unlink(missing_ok=True)

    def _fetch(self, part: io.FileIO) -> int:
        """Goes on until it is whole, or until some tries in a row brought nothing new."""
        retries = self.transport.retries
        tries = 0
        # Not what there was before this try: after each beginning anew that would be nothing,
        # and a server that always cuts at the same place would be asked for ever.
        most = _size(part)
        while True:
            cut = self._go_on(part)
            size = _size(part)
            if cut is None:
                return size
            tries = 1 if size > most else tries + 1
            most = max(most, size)
            wait = retries.backoff(tries)
            if wait is None:
                raise unreachable(cut, self.transport.address) from cut
            retries.sleep(wait)

    def _go_on(self, part: io.FileIO) -> httpx2.RequestError | None:
        """One request; what cut it short, or None when the file is whole."""
        # The last byte is asked for again, so that there is something to send of a file that is
        # whole already.
        start = max(0, _size(part) - 1)
        # Compressed, a range of the file would not be what it says.
        headers = {"accept": "*/*", "accept-encoding": "identity"}
        if start:
            headers["range"] = f"bytes={start}-"
        request = self.transport.request("GET", self.path, headers=headers)
        try:
            with self.transport.stream(request) as reply:
                return self._receive(reply, part, start)
        except Refused as refusal:
            if refusal.status != 416 or not start:
                raise
            return _start_over(part)

    def _receive(
        self, reply: httpx2.Response, part: io.FileIO, start: int
    ) -> httpx2.RequestError | None:
        self._expect_bytes(reply)
        length = reply.headers.get("content-length", "")
        total = int(length) if length.isdecimal() else None
        if reply.status_code == 206:
            span = _CONTENT_RANGE.fullmatch(reply.headers.get("content-range", ""))
            if span is None or int(span[1]) != start:
                return _start_over(part)
            total = int(span[2])
            part.seek(start)
        else:
            start = 0
            _empty(part)
        self.on_bytes(start, total)
        try:
            for block in reply.iter_raw():
                with on_this_machine(self.part):
                    _write(part, block)
                self.on_bytes(part.tell(), total)
        except httpx2.RequestError as error:
            return error
        if total is not None and part.tell() != total:
            return httpx2.RemoteProtocolError(f"{part.tell()} of {total} bytes came")
        return None

    def _expect_bytes(self, reply: httpx2.Response) -> None:
        """A portal's page or a compressed body must not be taken for results."""
        if reply.headers.get("content-type", "").startswith("text/html"):
            raise not_json(reply, self.transport.address)
        coding = reply.headers.get("content-encoding", "identity")
        if coding != "identity":
            raise BadReply(f"{self.transport.address.name} sent the file in {coding}, unasked.")


@contextmanager
def _held(path: Path) -> Iterator[io.FileIO]:
    """The part. Only one process writes to it: two would mix their bytes."""
    with on_this_machine(path):
        part = io.FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+")
    with part:
        if not _lock(part, path):
            raise ClientError(
                f"{path}: another download of this file is under way.", "Wait for it to end."
            )
        yield part


def _lock(part: io.FileIO, path: Path) -> bool:
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Between opening and locking, another may have finished it and renamed it away.
        return os.path.samestat(os.fstat(part.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _start_over(part: io.FileIO) -> httpx2.RequestError:
    _empty(part)
    return httpx2.RemoteProtocolError("it does not have the range that was asked for")


def _empty(part: io.FileIO) -> None:
    part.seek(0)
    part.truncate()


def _size(part: io.FileIO) -> int:
    return os.fstat(part.fileno()).st_size


def _write(part: io.FileIO, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[part.write(rest) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
