"""Uploads in parts on a disk that fails and in processes that die."""

import asyncio
import hashlib
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from overnight.domain.block_digests import BlockHasher
from overnight.domain.errors import Conflict, Unavailable
from overnight.domain.file import StoredFile
from overnight.domain.upload import Upload
from overnight.seams import SystemChance
from overnight.service.files import FilesOptions, NewFile
from overnight.service.part_order import OrderOfIds, OrderOfNumbers
from overnight.service.part_uploads import NewUpload, PartUploads
from overnight.store import files as file_rows
from support.memory_disk import Died
from support.service_world import ServiceWorld, in_world, running

PARTS = [bytes([65 + number]) * (50 + number) for number in range(4)]
WHOLE = b"".join(PARTS)
OPTIONS = FilesOptions(secret=b"s" * 32, upload_seconds=120)
EARLY = replace(OPTIONS, early_join_bytes=1)


def service(world: ServiceWorld, options: FilesOptions = OPTIONS) -> PartUploads:
    """As a process that has just started has it."""
    seams = replace(world.seams, chance=SystemChance())
    return PartUploads(world.database, world.blobs, seams, options)


async def announce(uploads: PartUploads) -> Upload:
    return await uploads.create(NewUpload(NewFile("local", "a.jsonl", "batch"), len(WHOLE)))


async def add(uploads: PartUploads, upload: Upload, data: bytes) -> str:
    async with await uploads.incoming(upload) as incoming:
        await incoming.write(data)
        return (await uploads.add_part(upload, incoming)).id


async def complete(uploads: PartUploads, upload: Upload, part_ids: list[str]) -> StoredFile:
    _, file = await uploads.complete(upload.id, "local", OrderOfIds(part_ids))
    return file


def stored(world: ServiceWorld, folder: Path) -> int:
    return sum(len(data) for path, data in world.disk.files.items() if folder in path.parents)


@pytest.mark.parametrize("torn", [False, True])
def test_a_join_goes_on_wherever_its_process_died(tmp_path: Path, torn: bool) -> None:
    async def die_after(world: ServiceWorld, writes: int) -> bool:
        """Whether it died at all; at the end the file is whole in either case."""
        uploads = service(world)
        upload = await announce(uploads)
        part_ids = [await add(uploads, upload, data) for data in PARTS]
        world.disk.writes_left, world.disk.torn = writes, torn
        died = False
        try:
            await complete(uploads, upload, part_ids)
        except Died:
            died = True
        world.disk.writes_left = None
        file = await complete(service(world), upload, part_ids)
        assert bytes(world.disk.files[world.blobs.file_path(file.id)]) == WHOLE
        assert file.sha256 == hashlib.sha256(WHOLE).hexdigest()
        assert stored(world, world.blobs.upload_folder(upload.id)) == 0
        return died

    async def test(world: ServiceWorld) -> None:
        writes = 0
        while await die_after(world, writes):
            writes += 1
        assert writes > 2 * len(PARTS)

    in_world(tmp_path, test)


def test_a_join_goes_on_whichever_parts_a_power_loss_brings_back(tmp_path: Path) -> None:
    """A part is removed once what it held is synced; that it is removed is not."""

    async def die_joined(world: ServiceWorld, places: tuple[int, ...]) -> None:
        """Die before the rename, when all parts are gone; find those at `places` again."""
        uploads = service(world)
        upload = await announce(uploads)
        part_ids = [await add(uploads, upload, data) for data in PARTS]
        paths = [world.blobs.part_path(upload.id, part_ids[place]) for place in places]
        back = {path: world.disk.files[path] for path in paths}
        world.disk.writes_left = 1 + 1 + 2 * (len(PARTS) - 1)
        with pytest.raises(Died):
            await complete(uploads, upload, part_ids)
        world.disk.writes_left = None
        assert world.disk.list_folder(world.blobs.upload_folder(upload.id)) == ["joined"]
        world.disk.files.update(back)
        file = await complete(service(world), upload, part_ids)
        assert bytes(world.disk.files[world.blobs.file_path(file.id)]) == WHOLE

    async def test(world: ServiceWorld) -> None:
        for count in range(len(PARTS)):
            for places in combinations(range(1, len(PARTS)), count):
                await die_joined(world, places)

    in_world(tmp_path, test)


def test_a_file_of_one_part_is_known_by_its_blocks_too(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        uploads = service(world)
        upload = await announce(uploads)
        file = await complete(uploads, upload, [await add(uploads, upload, WHOLE)])
        assert file.sha256 == hashlib.sha256(WHOLE).hexdigest()
        hasher = BlockHasher()
        hasher.update(WHOLE)
        digests = await world.database.read(lambda tx: file_rows.digests(tx, file.id))
        assert digests == hasher.digests()

    in_world(tmp_path, test)


def test_a_join_takes_hardly_more_disk_than_the_parts(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        uploads = service(world)
        size = 40 * 1024**2
        upload = await uploads.create(NewUpload(NewFile("local", "a.jsonl", "batch"), 6 * size))
        part_ids = [await add(uploads, upload, bytes(size)) for _ in range(6)]
        most = 0

        def change() -> None:
            nonlocal most
            most = max(most, sum(map(len, world.disk.files.values())))

        world.disk.change = change  # type: ignore[method-assign]
        await complete(uploads, upload, part_ids)
        assert 6 * size <= most <= 8 * size

    in_world(tmp_path, test)


def numbered() -> NewUpload:
    checksum = hashlib.sha256(WHOLE).hexdigest()
    return NewUpload(NewFile("local", "a.jsonl", "batch"), len(WHOLE), len(PARTS), checksum)


async def put(uploads: PartUploads, upload: Upload, number: int, data: bytes | None = None) -> str:
    async with await uploads.incoming(upload, number) as incoming:
        await incoming.write(PARTS[number - 1] if data is None else data)
        return (await uploads.add_part(upload, incoming, number)).sha256


def test_numbered_parts_are_joined_as_they_come(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        uploads = service(world, EARLY)
        upload = await uploads.create(numbered())
        folder = world.blobs.upload_folder(upload.id)
        tags = {}
        for number, names in ((2, 1), (1, 1), (4, 2), (3, 1)):
            tags[number] = await put(uploads, upload, number)
            assert len(world.disk.list_folder(folder)) == names
        assert await put(uploads, upload, 1) == tags[1]
        with pytest.raises(Conflict, match="Part 1 came before, with other bytes"):
            await put(uploads, upload, 1, bytes(len(PARTS[0])))
        assert world.disk.list_folder(folder) == ["joined"]
        _, file = await uploads.complete(upload.id, "local", OrderOfNumbers(tags))
        assert bytes(world.disk.files[world.blobs.file_path(file.id)]) == WHOLE

    in_world(tmp_path, test)


def test_early_joins_go_on_wherever_their_process_died(tmp_path: Path) -> None:
    async def die_after(world: ServiceWorld, writes: int) -> bool:
        uploads = service(world, EARLY)
        upload = await uploads.create(numbered())
        died = False
        world.disk.writes_left = writes
        tags: dict[int, str] = {}
        for number in (2, 1, 3, 4):
            try:
                tags[number] = await put(uploads, upload, number)
            except Died:
                died = True
                world.disk.writes_left = None
                uploads = service(world, EARLY)
                tags[number] = await put(uploads, upload, number)
        world.disk.writes_left = None
        _, file = await uploads.complete(upload.id, "local", OrderOfNumbers(tags))
        assert bytes(world.disk.files[world.blobs.file_path(file.id)]) == WHOLE
        return died

    async def test(world: ServiceWorld) -> None:
        writes = 0
        while await die_after(world, writes):
            writes += 1
        assert writes > 3 * len(PARTS)

    in_world(tmp_path, test)


def test_a_full_disk_ends_nothing(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        uploads = service(world)
        upload = await announce(uploads)
        part_ids = [await add(uploads, upload, data) for data in PARTS]
        world.disk.full = True
        with pytest.raises(Unavailable):
            await complete(uploads, upload, part_ids)
        with pytest.raises(Conflict):
            await uploads.cancel(upload.id, "local")
        world.disk.full = False
        file = await complete(uploads, upload, part_ids)
        assert file.bytes == len(WHOLE)

    in_world(tmp_path, test)


def test_what_has_ended_is_removed_and_remembered(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        uploads = service(world)
        done, cancelled, left = [await announce(uploads) for _ in range(3)]
        for upload in (done, cancelled, left):
            part_ids = [await add(uploads, upload, data) for data in PARTS]
            if upload is done:
                await add(uploads, upload, b"")
                await complete(uploads, upload, part_ids)
        await uploads.cancel(cancelled.id, "local")
        folder = world.blobs.uploads_folder
        async with running(world.clerk("c")):
            await asyncio.sleep(60)
            assert stored(world, folder) == len(WHOLE)
            await asyncio.sleep(120)
            assert stored(world, folder) == 0
        statuses = [(await uploads.get(one.id, "local")).status for one in (done, cancelled, left)]
        assert [status.value for status in statuses] == ["completed", "cancelled", "expired"]

    in_world(tmp_path, test)


def test_a_clerk_that_starts_removes_what_no_row_tells_of(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        uploads = service(world)
        upload = await announce(uploads)
        part_id = await add(uploads, upload, PARTS[0])
        orphan = world.blobs.part_path("upload_0123", "part_0123")
        for path in (orphan, world.blobs.uploads_folder / "not ours"):
            world.disk.create(path).close()
        async with running(world.clerk("c")):
            await asyncio.sleep(1)
        names = world.disk.list_folder(world.blobs.uploads_folder)
        assert names == ["not ours", upload.id]
        assert world.blobs.part_path(upload.id, part_id) in world.disk.files

    in_world(tmp_path, test)
