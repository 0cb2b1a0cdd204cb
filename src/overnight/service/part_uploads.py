"""Uploads in parts: announced, sent in any order and side by side, and joined at the end."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count as count_from
from typing import Final
from weakref import WeakValueDictionary

from sqlalchemy import Connection

from overnight.domain.errors import Conflict, InvalidRequest, LimitExceeded, Unavailable
from overnight.domain.file import StoredFile
from overnight.domain.upload import Part, Upload, UploadStatus, upload_id
from overnight.seams import Seams
from overnight.service.files import FilesOptions, NewFile, checked_sha256, storage_left
from overnight.service.incoming import Incoming, SizeLimit
from overnight.service.joining import Joining
from overnight.service.part_order import PartOrder
from overnight.service.upload_link import PartLink
from overnight.store import files as file_rows
from overnight.store import uploads as upload_rows
from overnight.store.blobs import Blobs
from overnight.store.database import Database

PARTS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class NewUpload:
    """What a client announces. `checksum` is the sha256 (hex) that the whole will have.

    `parts_max`: how many parts there will be, if they are to be put by links and numbered.
    """

    file: NewFile
    bytes: int
    parts_max: int | None = None
    checksum: str | None = None


class PartUploads:
    """`tenant` None means: whoever it belongs to."""

    def __init__(
        self, database: Database, blobs: Blobs, seams: Seams, options: FilesOptions
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._disk = seams.disk
        self._clock = seams.clock
        self._chance = seams.chance
        self._options = options
        self._writing = seams.threads("parts")
        self._joining_thread = seams.threads("joining")
        self._joining = Joining(blobs, seams.disk, self._joining_thread)
        # Of two completions at once the second waits and then finds it done.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def close(self) -> None:
        """Waits for what its threads are doing."""
        self._writing.close()
        self._joining_thread.close()

    async def create(self, new: NewUpload) -> Upload:
        """Raises `InvalidRequest` and `LimitExceeded`."""
        new.file.check()
        self._options.size_limit.check(new.bytes)
        if new.parts_max is not None and new.parts_max > PARTS_MAX:
            raise _too_many_parts(new.parts_max)
        now = self._clock.now()
        seconds = self._options.link_seconds if new.parts_max else self._options.upload_seconds
        upload = Upload(
            id=upload_id(self._chance.token(24)),
            tenant=new.file.tenant,
            file_id=f"file-{self._chance.token(24)}",
            name=new.file.name,
            purpose=new.file.purpose,
            bytes=new.bytes,
            created_at=now,
            expires_at=now + seconds,
            parts_max=new.parts_max,
            checksum=checked_sha256(new.checksum),
            lifetime_seconds=new.file.expires_after_seconds,
        )

        def announce(tx: Connection) -> None:
            storage_left(tx, upload.tenant, self._options).check(upload.bytes)
            upload_rows.add(tx, upload)

        await self._database.write(announce)
        return upload

    async def get(self, upload_id: str, tenant: str | None) -> Upload:
        """As it stands at this moment. Raises `NotFound`."""
        return await self._database.read(lambda tx: self._now(tx, upload_id, tenant))

    def links(self, upload: Upload) -> list[str]:
        """The tokens of the links to put its numbered parts by, in their order."""
        expires_at = int(upload.expires_at)
        return [
            PartLink(upload.id, expires_at, number).sign(self._options.secret)
            for number in range(1, (upload.parts_max or 0) + 1)
        ]

    def read_link(self, token: str) -> PartLink:
        """Raises `Forbidden`; ask before the bytes are read."""
        return PartLink.read(token, self._options.secret, self._clock.now())

    async def incoming(self, upload: Upload, number: int | None = None) -> Incoming:
        """Where to write the bytes of a part; give it to `add_part` when all are in.

        Raises what `add_part` raises, if that can be told already.
        """
        left = await self._database.read(lambda tx: self._room(tx, upload.id, number))
        why = f"of the {upload.bytes:,} announced for the upload are left"
        path = self._blobs.incoming_path(self._chance.token(32))
        return Incoming(path, self._disk, self._writing, SizeLimit(left, "The part", why))

    async def add_part(self, upload: Upload, incoming: Incoming, number: int | None = None) -> Part:
        """Keep a part. One with the number of another takes its place.

        Raises `Conflict` when the upload takes no parts any more, and `LimitExceeded` when the
        parts would have more bytes than were announced.
        """
        received = await incoming.finish()
        part = Part(
            id=f"part_{self._chance.token(24)}",
            upload_id=upload.id,
            bytes=received.bytes,
            sha256=received.sha256,
            created_at=self._clock.now(),
            number=number,
        )
        await self._writing.run(lambda: self._publish(incoming, part))
        gone = [part.id]
        try:
            gone = await self._database.write(lambda tx: self._add_row(tx, part))
        finally:
            for part_id in gone:
                path = self._blobs.part_path(upload.id, part_id)
                await self._writing.run(partial(self._disk.remove, path))
        if number is not None:
            await self._join_early(upload)
        return part

    async def complete(
        self, upload_id: str, tenant: str, order: PartOrder
    ) -> tuple[Upload, StoredFile]:
        """Join the parts. Asking again, as clients do after a lost answer, gives the same.

        Raises `NotFound`, `InvalidRequest` when the parts are not what was promised (they stay,
        and it may be asked again), and `Conflict` when the upload has ended otherwise.
        """
        async with self._lock(upload_id):
            upload = await self.get(upload_id, tenant)
            status = upload.status
            if status is UploadStatus.PENDING:
                upload = await self._settle_order(upload, order)
            elif status is UploadStatus.COMPLETED and order.is_settled(upload):
                return upload, await self._database.read(
                    lambda tx: file_rows.get(tx, upload.file_id, tenant)
                )
            elif status is not UploadStatus.JOINING or not order.is_settled(upload):
                raise _wrong_status("complete", status)
            known = {part.id: part for part in await self._parts(upload)}
            await self._joining.join(upload, [known[part_id] for part_id in upload.part_ids])
            return await self._finish(upload)

    async def cancel(self, upload_id: str, tenant: str) -> Upload:
        """What has arrived is removed soon. Asking twice is fine.

        Raises `NotFound`, and `Conflict` when it has ended otherwise.
        """

        def cancel(tx: Connection) -> None:
            upload = self._now(tx, upload_id, tenant)
            if upload.status is UploadStatus.PENDING:
                upload_rows.cancel(tx, upload_id)
            elif upload.status is not UploadStatus.CANCELLED:
                raise _wrong_status("cancel", upload.status)

        async with self._lock(upload_id):
            await self._database.write(cancel)
        return await self.get(upload_id, tenant)

    def _lock(self, upload_id: str) -> asyncio.Lock:
        return self._locks.setdefault(upload_id, asyncio.Lock())

    def _add_row(self, tx: Connection, part: Part) -> list[str]:
        """Ids of the parts that are not needed: replaced ones, or this one."""
        upload = self._now(tx, part.upload_id)
        left = self._room(tx, upload.id, part.number)
        if part.bytes > left:
            raise LimitExceeded(
                f"The part has {part.bytes:,} bytes; of the {upload.bytes:,} announced for "
                f"the upload {left:,} are left.",
                code="file_too_large",
            )
        if part.number is None or part.number > upload.joined:
            return upload_rows.add_part(tx, part)
        for same in upload_rows.parts(tx, upload.id):
            if same.number == part.number and same.sha256 != part.sha256:
                raise Conflict(
                    f"Part {part.number} came before, with other bytes, and is joined already.",
                    code="part_joined",
                )
        return [part.id]

    async def _join_early(self, upload: Upload) -> None:
        """Join what is there from number 1 on, so that little is left when all are in.

        Clients wait a minute for a completion; joining 50 GB takes longer than that. The newest
        parts are left alone, for as long as that may be sent again.
        """
        lock = self._lock(upload.id)
        if lock.locked():
            return  # Whoever holds it looks again before it ends.
        async with lock:
            # A disk that is full now may not be when the upload is completed.
            with suppress(Unavailable):
                while parts := await self._database.write(lambda tx: self._joinable(tx, upload)):
                    await self._joining.append(upload, parts)

    def _joinable(self, tx: Connection, upload: Upload) -> list[Part]:
        """All parts from number 1 to the first that is missing, if it is time to join those."""
        now = self._now(tx, upload.id)
        by_number = {part.number: part for part in upload_rows.parts(tx, upload.id)}
        count = next(number for number in count_from(1) if number not in by_number) - 1
        there = [by_number[number] for number in range(1, count + 1)]
        waiting = there[now.joined :]
        enough = sum(part.bytes for part in waiting) >= self._options.early_join_bytes
        if now.status is not UploadStatus.PENDING or not waiting or not enough:
            return []
        upload_rows.mark_joined(tx, upload.id, count)
        return there

    def _now(self, tx: Connection, upload_id: str, tenant: str | None = None) -> Upload:
        upload = upload_rows.get(tx, upload_id, tenant)
        return replace(upload, status=upload.status_at(self._clock.now()))

    def _room(self, tx: Connection, upload_id: str, number: int | None) -> int:
        """How many bytes a part may have. Raises `Conflict` and `LimitExceeded`."""
        upload = self._now(tx, upload_id)
        if upload.status is not UploadStatus.PENDING:
            raise _wrong_status("add a part to", upload.status)
        if (number is None) is not (upload.parts_max is None):
            raise InvalidRequest(f"The parts of {upload_id} are put by its links.")
        count, size = upload_rows.arrived(tx, upload_id, besides=number)
        if count >= PARTS_MAX:
            raise _too_many_parts(count + 1)
        return upload.bytes - size

    async def _parts(self, upload: Upload) -> Sequence[Part]:
        return await self._database.read(lambda tx: upload_rows.parts(tx, upload.id))

    async def _settle_order(self, upload: Upload, order: PartOrder) -> Upload:
        """Check everything promised while all parts are still as they came."""
        chosen = order.choose(upload, await self._parts(upload))
        size = sum(part.bytes for part in chosen)
        if size != upload.bytes:
            raise InvalidRequest(
                f"The parts have {size:,} bytes in all, announced were {upload.bytes:,}.",
                param="bytes",
                code="size_mismatch",
            )
        digests = await self._joining.digests(upload, chosen, with_md5=order.md5 is not None)
        _check_promised("sha256", digests.sha256, upload.checksum, "checksum")
        _check_promised("md5", digests.md5, order.md5, "md5")
        part_ids = tuple(part.id for part in chosen)

        def settle(tx: Connection) -> None:
            upload_rows.settle_order(tx, upload.id, part_ids, digests.sha256)
            file_rows.set_digests(tx, upload.file_id, digests.blocks)

        await self._database.write(settle)
        return replace(
            upload, status=UploadStatus.JOINING, part_ids=part_ids, sha256=digests.sha256
        )

    async def _finish(self, upload: Upload) -> tuple[Upload, StoredFile]:
        def finish(tx: Connection) -> StoredFile:
            self._blobs.check_file(upload.file_id)
            upload_rows.complete(tx, upload.id)
            file = _file_of(upload, self._clock.now())
            file_rows.add(tx, file)
            return file

        file = await self._database.write(finish)
        return replace(upload, status=UploadStatus.COMPLETED), file

    def _publish(self, incoming: Incoming, part: Part) -> None:
        try:
            self._disk.make_folder(self._blobs.upload_folder(part.upload_id))
            self._disk.publish(incoming.path, self._blobs.part_path(part.upload_id, part.id))
        except OSError as error:
            raise Unavailable(f"The part can not be stored: {error.strerror}.") from error


def _file_of(upload: Upload, now: float) -> StoredFile:
    lifetime = upload.lifetime_seconds
    return StoredFile(
        id=upload.file_id,
        tenant=upload.tenant,
        name=upload.name,
        purpose=upload.purpose,
        bytes=upload.bytes,
        created_at=now,
        sha256=upload.sha256,
        expires_at=None if lifetime is None else now + lifetime,
    )


def _check_promised(kind: str, found: str | None, promised: str | None, param: str) -> None:
    if promised is not None and promised.lower() != found:
        raise InvalidRequest(
            f"The parts in this order have the {kind} {found}, promised was {promised[:80]}.",
            param=param,
            code="checksum_mismatch",
        )


def _too_many_parts(count: int) -> LimitExceeded:
    return LimitExceeded(
        f"An upload has at most {PARTS_MAX:,} parts, this one {count:,}; send larger ones.",
        code="too_many_parts",
    )


def _wrong_status(what: str, status: UploadStatus) -> Conflict:
    return Conflict(
        f"Cannot {what} an upload with status '{status.value}'.", code=f"upload_{status.value}"
    )
