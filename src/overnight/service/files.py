"""Files: what users upload and what jobs leave behind."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import Connection

from overnight.domain.errors import (
    Conflict,
    Corrupt,
    InvalidRequest,
    LimitExceeded,
    OvernightError,
    Unavailable,
)
from overnight.domain.file import FileStatus, StoredFile
from overnight.seams import ReadFile, Seams, Threads
from overnight.service.incoming import Incoming, Received, SizeLimit
from overnight.service.upload_link import UploadLink
from overnight.store import files as file_rows
from overnight.store import uploads as upload_rows
from overnight.store.blobs import Blobs
from overnight.store.database import Database
from overnight.store.verified import verified

BATCH_INPUT: Final = "batch"

_NAME_BYTES_MAX: Final = 255
"""As much as the usual file systems take."""
_UNNAMEABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_PURPOSE: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class FilesOptions:
    """`secret` signs upload links and must outlive the process; at least 32 random bytes.

    `upload_seconds` is for an upload in parts whose parts carry keys, `link_seconds` for bytes
    that come by signed links. With `deduplicate` bytes that the tenant has are not taken again.
    Numbered parts are joined before all are in once they have `early_join_bytes`.
    """

    secret: bytes
    file_bytes_max: int = 50 * 1024**3
    files_max: int = 1_000_000
    storage_bytes_max: int | None = None
    link_seconds: float = 24 * 3600
    upload_seconds: float = 3600
    deduplicate: bool = False
    early_join_bytes: int = 1024**3

    @property
    def size_limit(self) -> SizeLimit:
        why = "split it, for the limit `limits.file_bytes_max` is"
        return SizeLimit(self.file_bytes_max, "The file", why)


@dataclass(frozen=True, slots=True)
class NewFile:
    """What the user says of a file. `expires_after_seconds` None keeps it until it is deleted."""

    tenant: str
    name: str
    purpose: str
    expires_after_seconds: int | None = None

    def check(self) -> None:
        """Raises `InvalidRequest`."""
        if not _PURPOSE.fullmatch(self.purpose):
            raise InvalidRequest(
                f"'{self.purpose[:80]}' is no purpose; for a batch it is '{BATCH_INPUT}'.",
                param="purpose",
            )
        check_file_name(self.name)


def check_file_name(name: str) -> None:
    """Names are only ever shown, but people save files under them. Raises `InvalidRequest`."""
    length = len(name.encode("utf-8", "surrogatepass"))
    if not 0 < length <= _NAME_BYTES_MAX:
        raise InvalidRequest(
            f"A file name has 1 to {_NAME_BYTES_MAX} bytes of UTF-8, this one has {length:,}.",
            param="filename",
        )
    if found := _UNNAMEABLE.search(name):
        raise InvalidRequest(
            f"A file name has no control characters, this one has {found[0]!a}.", param="filename"
        )
    if name in (".", ".."):
        raise InvalidRequest(f"'{name}' is a folder and no file name.", param="filename")


@dataclass(frozen=True, slots=True)
class Content:
    """An open file. Holds nothing but the file, however slowly it is read; must be closed."""

    file: StoredFile
    _open: ReadFile
    _threads: Threads

    async def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes; raises `Corrupt` when they are fewer, or not those stored."""
        data = await self._threads.run(partial(self._open.read_at, offset, length))
        if len(data) != length:
            raise Corrupt(f"{self.file.id} ends at byte {offset + len(data)}, too early.")
        return data

    def close(self) -> None:
        self._open.close()


class Files:
    """Upload, describe, list, read and delete. `tenant` None means: whoever it belongs to."""

    def __init__(
        self, database: Database, blobs: Blobs, seams: Seams, options: FilesOptions
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._disk = seams.disk
        self._clock = seams.clock
        self._chance = seams.chance
        self._options = options
        self._writing = seams.threads("uploads")
        self._reading = seams.threads("downloads")

    def close(self) -> None:
        """Waits for what its threads are doing."""
        self._writing.close()
        self._reading.close()

    async def clear_incoming(self) -> None:
        """Remove what a predecessor that was killed had half received.

        For the one process that takes uploads, before it takes the first.
        """
        folder = self._blobs.incoming_path("any").parent

        def clear() -> None:
            for name in self._disk.list_folder(folder):
                self._disk.remove(folder / name)

        await self._writing.run(clear)

    def incoming(self, limit: SizeLimit | None = None) -> Incoming:
        """Where to write the bytes of an upload; give it to `add` or `fulfil` when all are in."""
        path = self._blobs.incoming_path(self._chance.token(32))
        return Incoming(path, self._disk, self._writing, limit or self._options.size_limit)

    async def check_room(self, tenant: str) -> SizeLimit:
        """How large the tenant's next file may be.

        Raises `LimitExceeded` when it has all the files, or all the bytes, that it may have.
        """
        most = self._options.files_max

        def look(tx: Connection) -> tuple[int, SizeLimit]:
            return file_rows.count(tx, tenant), storage_left(tx, tenant, self._options)

        count, limit = await self._database.read(look)
        if count >= most:
            raise LimitExceeded(
                f"There are {count:,} files; the limit `limits.files_max` is {most:,}. "
                "Delete some first.",
                code="too_many_files",
            )
        limit.check(1)
        return limit

    async def room_for(self, link: UploadLink) -> SizeLimit:
        """How many bytes may come by the link. Raises `NotFound`."""

        def look(tx: Connection) -> SizeLimit:
            file = file_rows.get(tx, link.file_id)
            return storage_left(tx, file.tenant, self._options, besides=file.bytes)

        return await self._database.read(look)

    async def duplicate(self, details: NewFile, checksum: str | None) -> StoredFile | None:
        """A file of the tenant that has these bytes, if such are not to be taken again."""
        if checksum is None or not self._options.deduplicate:
            return None
        now, sha256 = self._clock.now(), checksum.lower()
        return await self._database.read(
            lambda tx: file_rows.same_bytes(tx, details.tenant, details.purpose, sha256, now)
        )

    async def add(self, incoming: Incoming, details: NewFile) -> StoredFile:
        """Keep an upload that came in one request: bytes first, then the row."""
        details.check()
        received = await incoming.finish()
        file_id = self._new_id()
        await self._writing.run(lambda: self._publish(incoming, file_id))
        try:
            return await self._database.write(lambda tx: self._add(tx, file_id, details, received))
        except OvernightError:
            # A disk that is full may be so by these bytes, which nobody will ask for.
            with suppress(OSError):
                await self._writing.run(partial(self._blobs.remove_file, file_id))
            raise

    async def reserve(self, details: NewFile, checksum: str | None) -> tuple[StoredFile, str]:
        """First of three steps: a row without bytes, and the token of the link to put them.

        `checksum` is the sha256 (hex) the bytes will have, if the client told.
        """
        details.check()
        checksum = checked_sha256(checksum)
        file_id = self._new_id()
        file = await self._database.write(lambda tx: self._add(tx, file_id, details, None))
        expires_at = int(self._clock.now() + self._options.link_seconds)
        return file, UploadLink(file.id, expires_at, checksum).sign(self._options.secret)

    def read_link(self, token: str) -> UploadLink:
        """Raises `Forbidden`; ask before the bytes are read."""
        return UploadLink.read(token, self._options.secret, self._clock.now())

    async def fulfil(self, link: UploadLink, incoming: Incoming) -> StoredFile:
        """Second step: the bytes arrived. May be done again, as clients do after a lost answer.

        Raises `InvalidRequest` when the checksum is not the promised one, and `Conflict` when
        other bytes would replace those that were confirmed or that a live job reads.
        """
        received = await incoming.finish()
        if link.checksum is not None and received.sha256 != link.checksum:
            raise InvalidRequest(
                f"The bytes have the sha256 {received.sha256}, promised was {link.checksum}.",
                param="checksum",
                code="checksum_mismatch",
            )
        file = await self._database.read(lambda tx: file_rows.get(tx, link.file_id))
        if file.status is FileStatus.READY and file.sha256 != received.sha256:
            # Pending first: a crash half-way must not leave a row that describes other bytes.
            await self._database.write(partial(self._reopen, file_id=file.id))
        if file.status is FileStatus.PENDING or file.sha256 != received.sha256:
            await self._database.write(self._replacement(file.id, incoming, received))
        return await self.get(file.id, None)

    async def get(self, file_id: str, tenant: str | None) -> StoredFile:
        """Raises `NotFound`."""
        return await self._database.read(lambda tx: file_rows.get(tx, file_id, tenant))

    async def confirm(self, file_id: str, tenant: str) -> StoredFile:
        """Third step: the client has put all it wanted, and its link replaces nothing any more.

        Doing it again changes nothing. Raises what `uploaded` raises.
        """
        file = await self.uploaded(file_id, tenant)
        if not await self._database.read(lambda tx: file_rows.is_confirmed(tx, file_id)):
            now = self._clock.now()
            await self._database.write(lambda tx: file_rows.confirm(tx, file_id, now))
        return file

    async def uploaded(self, file_id: str, tenant: str | None) -> StoredFile:
        """Raises `NotFound`, and `InvalidRequest` before the bytes are there."""
        file = await self.get(file_id, tenant)
        if file.status is not FileStatus.READY:
            raise InvalidRequest(
                f"The bytes of {file.id} have not been uploaded yet.",
                param="id",
                code="file_not_ready",
            )
        return file

    async def page(
        self,
        tenant: str,
        *,
        purpose: str | None = None,
        after: str | None = None,
        limit: int | None = None,
        ascending: bool = False,
    ) -> tuple[list[StoredFile], bool]:
        """Newest first unless `ascending`; the flag says whether more follow."""
        return await self._database.read(
            lambda tx: file_rows.page(tx, tenant, purpose, after, limit, ascending)
        )

    async def content(self, file_id: str, tenant: str | None) -> Content:
        """Raises `NotFound`, `InvalidRequest` before the bytes are there, and `Corrupt`."""
        file = await self.uploaded(file_id, tenant)
        digests = await self._database.read(lambda tx: file_rows.digests(tx, file.id))
        opened = await self._reading.run(lambda: self._open(file))
        return Content(file, verified(opened, file.id, digests), self._reading)

    async def delete(self, file_id: str, tenant: str) -> None:
        """Raises `NotFound`, and `Conflict` while a live job refers to the file."""
        now = self._clock.now()

        def forget(tx: Connection) -> None:
            file_rows.get(tx, file_id, tenant)
            _refuse_in_use(tx, file_id, "deleted")
            file_rows.forget(tx, file_id, now)

        await self._database.write(forget)

    def _new_id(self) -> str:
        return f"file-{self._chance.token(24)}"

    def _add(
        self, tx: Connection, file_id: str, details: NewFile, received: Received | None
    ) -> StoredFile:
        # Timed inside the transaction, so that files are listed in the order in which they
        # come to be there, and whoever has read a list so far misses none.
        if received:
            self._blobs.check_file(file_id)
            storage_left(tx, details.tenant, self._options).check(received.bytes)
        now = self._clock.now()
        lifetime = details.expires_after_seconds
        file = StoredFile(
            id=file_id,
            tenant=details.tenant,
            name=details.name,
            purpose=details.purpose,
            bytes=received.bytes if received else 0,
            sha256=received.sha256 if received else None,
            created_at=now,
            expires_at=None if lifetime is None else now + lifetime,
            lines=None,
            status=FileStatus.READY if received else FileStatus.PENDING,
        )
        file_rows.add(tx, file, received.digests if received else None)
        return file

    def _replacement(
        self, file_id: str, incoming: Incoming, received: Received
    ) -> Callable[[Connection], None]:
        def replace(tx: Connection) -> None:
            # Inside the transaction, so that of two PUTs at once the bytes and the row that
            # stay are of the same one.
            file_rows.get(tx, file_id)
            self._publish(incoming, file_id)
            file_rows.complete(tx, file_id, received.bytes, received.sha256, received.digests)

        return replace

    @staticmethod
    def _reopen(tx: Connection, file_id: str) -> None:
        if file_rows.is_confirmed(tx, file_id):
            raise Conflict(
                f"The upload of {file_id} is over; upload other bytes as another file.",
                code="upload_confirmed",
            )
        _refuse_in_use(tx, file_id, "replaced")
        file_rows.reopen(tx, file_id)

    def _publish(self, incoming: Incoming, file_id: str) -> None:
        try:
            self._disk.publish(incoming.path, self._blobs.file_path(file_id))
        except OSError as error:
            raise Unavailable(f"The upload can not be stored: {error.strerror}.") from error

    def _open(self, file: StoredFile) -> ReadFile:
        try:
            opened = self._disk.open(self._blobs.file_path(file.id))
        except FileNotFoundError as error:
            raise Corrupt(f"The bytes of {file.id} are missing.") from error
        except OSError as error:
            raise Unavailable(f"{file.id} can not be read: {error.strerror}.") from error
        if opened.size() != file.bytes:
            opened.close()
            raise Corrupt(f"{file.id} has not the {file.bytes} bytes it was stored with.")
        return opened


def storage_left(tx: Connection, tenant: str, options: FilesOptions, besides: int = 0) -> SizeLimit:
    """How large the tenant's next file may be; `besides` bytes of those it has will go."""
    most = options.storage_bytes_max
    if most is None:
        return options.size_limit
    used = file_rows.stored_bytes(tx, tenant) + upload_rows.announced_bytes(tx, tenant) - besides
    left = max(0, most - used)
    if left >= options.file_bytes_max:
        return options.size_limit
    why = (
        f"your files have {used:,} of the {most:,} that the limit `limits.storage_bytes_max` "
        "allows. Delete some first; left are"
    )
    return SizeLimit(left, "The file", why, "storage_full")


def checked_sha256(checksum: str | None) -> str | None:
    """In lower case; raises `InvalidRequest` when it is none."""
    if checksum is not None and not _SHA256.fullmatch(checksum := checksum.lower()):
        raise InvalidRequest("A checksum is a sha256 in 64 hex digits.", param="checksum")
    return checksum


def _refuse_in_use(tx: Connection, file_id: str, what: str) -> None:
    if (job_id := file_rows.reader_of(tx, file_id)) is not None:
        raise Conflict(
            f"{file_id} can not be {what} while {job_id} reads it; cancel that batch or wait for"
            " its end.",
            code="file_in_use",
        )
