"""Turns a claimed shard into an open one: its part of the input, and its segment."""

from pathlib import Path

from overnight.dispatch.segment import begin_segment
from overnight.dispatch.shard import OpenShard, ShardOrder
from overnight.dispatch.window import load_window
from overnight.domain.errors import Corrupt
from overnight.domain.plan import ShardPlan
from overnight.seams import ReadFile, Seams
from overnight.store.blobs import Blobs
from overnight.store.shards import ShardClaim

_FILES_MAX = 64


class ShardLoader:
    """Reads in a thread of its own, and keeps the files of recent jobs open."""

    def __init__(self, blobs: Blobs, seams: Seams) -> None:
        self._blobs = blobs
        self._disk = seams.disk
        self._thread = seams.threads("loader")
        self._files: dict[Path, ReadFile] = {}

    async def load(self, claim: ShardClaim, *, one_by_one: bool) -> OpenShard | Corrupt:
        """Open a shard; `Corrupt` is returned, for it is the job's fate and not ours."""
        return await self._thread.run(lambda: self._load(claim, one_by_one))

    def close(self) -> None:
        self._thread.close()
        for file in self._files.values():
            file.close()

    def _load(self, claim: ShardClaim, one_by_one: bool) -> OpenShard | Corrupt:
        plan = ShardPlan(
            claim.ordinal,
            claim.model,
            claim.first_record,
            claim.requests,
            claim.body_bytes,
            claim.checksum,
        )
        order = ShardOrder(
            claim.job_id, claim.ordinal, claim.epoch, claim.model, claim.endpoint, one_by_one
        )
        try:
            plan_file = self._file(self._blobs.plan_path(claim.job_id))
            input_file = self._file(self._blobs.file_path(claim.input_file_id))
            window = load_window(plan_file, input_file, plan)
        except Corrupt as error:
            return error
        except FileNotFoundError as error:
            return Corrupt(f"{error.filename} is missing")
        folder = self._blobs.segments_folder(claim.job_id)
        writer, index = begin_segment(self._disk, folder, claim.ordinal, claim.epoch)
        return OpenShard(order, window, writer, index)

    def _file(self, path: Path) -> ReadFile:
        file = self._files.pop(path, None)
        if file is None:
            file = self._disk.open(path)
        self._files[path] = file
        while len(self._files) > _FILES_MAX:
            self._files.pop(next(iter(self._files))).close()
        return file
