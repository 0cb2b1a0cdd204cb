"""Turns a claimed shard into an open one: its part of the input, and its segment."""

from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from overnight.dispatch.segment import begin_segment
from overnight.dispatch.shard import OpenShard, ShardOrder
from overnight.dispatch.window import load_window
from overnight.domain.block_digests import BlockDigests
from overnight.domain.errors import Corrupt
from overnight.domain.plan import ShardPlan
from overnight.seams import ReadFile, Seams
from overnight.store.blobs import Blobs
from overnight.store.database import Database
from overnight.store.files import digests as digests_of
from overnight.store.shards import ShardClaim
from overnight.store.verified import verified

_FILES_MAX: Final = 32


class _JobFiles(NamedTuple):
    plan: ReadFile
    input: ReadFile

    def close(self) -> None:
        self.plan.close()
        self.input.close()


class ShardLoader:
    """Reads in a thread of its own, and keeps the files of the jobs at work open."""

    def __init__(self, database: Database, blobs: Blobs, seams: Seams) -> None:
        self._database = database
        self._blobs = blobs
        self._disk = seams.disk
        self._thread = seams.threads("loader")
        self._files: dict[str, _JobFiles] = {}

    async def load(self, claim: ShardClaim, *, one_by_one: bool) -> OpenShard | Corrupt:
        """Open a shard; `Corrupt` is returned, for it is the job's fate and not ours.

        Raises `OSError` when its segment can not be written, and `Unavailable`.
        """
        digests = None
        if claim.job_id not in self._files:
            digests = await self._database.read(lambda tx: digests_of(tx, claim.input_file_id))
        return await self._thread.run(lambda: self._load(claim, one_by_one, digests))

    async def keep_only(self, job_ids: Collection[str]) -> None:
        """Close the files of all other jobs: a deleted file takes room while it is open."""
        if any(job_id not in job_ids for job_id in self._files):
            await self._thread.run(lambda: self._close_others(job_ids))

    def close(self) -> None:
        self._thread.close()
        self._close_others(())

    def _close_others(self, job_ids: Collection[str]) -> None:
        for job_id in [job_id for job_id in self._files if job_id not in job_ids]:
            self._files.pop(job_id).close()

    def _load(
        self, claim: ShardClaim, one_by_one: bool, digests: BlockDigests | None
    ) -> OpenShard | Corrupt:
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
            files = self._files_of(claim, digests)
            window = load_window(files.plan, files.input, plan)
            folder = self._blobs.segments_folder(claim.job_id)
            writer, index = begin_segment(self._disk, folder, claim.ordinal, claim.epoch)
        except Corrupt as error:
            return error
        except (FileNotFoundError, PermissionError) as error:
            name = Path(error.filename or "a file").name
            return Corrupt(f"{name} can not be read: {error.strerror}")
        return OpenShard(order, window, writer, index)

    def _files_of(self, claim: ShardClaim, digests: BlockDigests | None) -> _JobFiles:
        files = self._files.pop(claim.job_id, None) or self._open(claim, digests)
        # The one used last is the last to be closed.
        self._files[claim.job_id] = files
        while len(self._files) > _FILES_MAX:
            self._files.pop(next(iter(self._files))).close()
        return files

    def _open(self, claim: ShardClaim, digests: BlockDigests | None) -> _JobFiles:
        with ExitStack() as opened:
            plan = self._disk.open(self._blobs.plan_path(claim.job_id))
            opened.callback(plan.close)
            source = self._disk.open(self._blobs.file_path(claim.input_file_id))
            opened.pop_all()
        return _JobFiles(plan, verified(source, "the input file", digests))
