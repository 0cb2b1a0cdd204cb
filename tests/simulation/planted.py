"""The faults that are planted to see that the simulation notices."""

from dataclasses import dataclass
from typing import Final

Edit = tuple[str, str, str]
"""File below `src/overnight`, what stands there once, and what is put in its place."""


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str
    edits: tuple[Edit, ...]
    insisted: tuple[str, ...] = ()
    """Kinds of trouble without which it does no harm: its worlds all have them."""


_ANY_RENEWAL: Final[Edit] = (
    "service/lease.py",
    "if not workers.renew(tx, self._id, self._clock.now() + self._seconds):",
    "if workers.renew(tx, self._id, self._clock.now() + self._seconds) is None:",
)
_WRITTEN: Final = "        await self._database.write(write)\n"
_COMMIT: Final = _WRITTEN + "        whole ="
_POSTING: Final = """
        from overnight.domain.event import Event
        from overnight.domain.job import next_status
        from overnight.store import webhooks

        job = self.claim.job
        event = Event.of_end(job.id, next_status(job.status, published.event), now)
        await self._database.write(lambda tx: webhooks.post(tx, job.tenant, event))
"""
_NOTED: Final = 'self.writer.add(request.line_number, OutcomeKind.RETRY, b"", 0, 0)\n'
_EXPIRED: Final = "files.c.expires_at <= now, is_present, read | ~read"
_APPENDING: Final = """
    for earlier in range(epoch - 1, 0, -1):
        try:
            old = disk.open(segment_path(folder, ordinal, earlier))
        except FileNotFoundError:
            continue
        with closing(old):
            for frame, _ in read_frames(old):
                index.add(frame)
        disk.publish(segment_path(folder, ordinal, earlier), path)
        writer = SegmentWriter(disk.extend(path, index.size), epoch)
        writer.size, writer._headers = index.size, index._headers
        return writer, index
    draft = path.with_name(path.name + ".draft")
"""

MUTANTS: Final = (
    Mutant("accept a lease that was taken away", (_ANY_RENEWAL,), ("freeze",)),
    Mutant(
        "the same, and drop worker and epoch from the WHERE of shards",
        (
            _ANY_RENEWAL,
            (
                "store/shards.py",
                "and_(_is(job_id, ordinal), shards.c.worker == worker, shards.c.epoch == epoch)",
                "and_(_is(job_id, ordinal), shards.c.epoch != -epoch, worker == worker)",
            ),
            (
                "store/shards.py",
                '== bindparam("by"),\n        shards.c.epoch == bindparam("held"),',
                '!= bindparam("by") + "-",\n        shards.c.epoch != -bindparam("held"),',
            ),
        ),
        ("freeze",),
    ),
    Mutant(
        "let no fence end a worker whose lease has run out",
        (
            (
                "service/lease.py",
                "self._fence.reschedule(asyncio.get_running_loop().time() + self.seconds_left)",
                "self._fence.reschedule(None)",
            ),
        ),
        ("database stalled",),
    ),
    Mutant(
        "publish although a worker still holds shards",
        (
            (
                "store/jobs.py",
                "    ~exists().where(shards.c.job_id == jobs.c.id, is_begun, is_claimed),\n",
                "",
            ),
        ),
    ),
    Mutant(
        "skip the sync of a segment before it is settled",
        (
            (
                "dispatch/dispatcher.py",
                "            await self._sync(self._shards if all_due else complete)\n",
                "",
            ),
        ),
    ),
    Mutant(
        "skip the sync of what a takeover has copied",
        (
            (
                "dispatch/segment.py",
                "        writer.sync()\n        disk.publish(draft, path)",
                "        disk.publish(draft, path)",
            ),
        ),
    ),
    Mutant(
        "take over without copying",
        (("dispatch/segment.py", "open_latest(disk, folder, ordinal, epoch - 1)", "None"),),
    ),
    Mutant(
        "believe a frame without its checksum",
        (
            (
                "dispatch/segment.py",
                "len(payload) != size or _checksum(epoch, outcomes, payload) != checksum",
                "len(payload) != size",
            ),
        ),
        ("power loss", "misreadings"),
    ),
    Mutant(
        "skip the sync of the plan",
        (("service/intake.py", "        await self._thread.run(self._plan.datasync)\n", ""),),
    ),
    Mutant(
        "skip the sync of the result files",
        (
            (
                "service/finalizer.py",
                "        await self._sync(result.output_bytes + result.error_bytes)\n",
                "",
            ),
        ),
    ),
    Mutant(
        "publish before the files have their names",
        (
            (
                "service/finalizer.py",
                "        self._disk.publish(draft, self._blobs.file_path(file_id))\n",
                "        self._reads.append((draft, self._blobs.file_path(file_id)))\n",
            ),
            (
                "service/finalizer.py",
                _COMMIT,
                _COMMIT.replace(
                    "whole", "[self._disk.publish(*p) for p in self._reads]\n        whole"
                ),
            ),
        ),
    ),
    Mutant(
        "remove the segments before the job has ended",
        (
            (
                "service/finalizer.py",
                _COMMIT,
                "        self._blobs.remove_job(self.claim.job.id)\n" + _COMMIT,
            ),
        ),
    ),
    Mutant(
        "count the outcomes of a shard twice",
        (
            (
                "store/shards.py",
                'jobs.c[name] + bindparam(f"more_{name}")',
                'jobs.c[name] + 2 * bindparam(f"more_{name}")',
            ),
        ),
    ),
    Mutant(
        "keep outcomes in memory for half a second",
        (("dispatch/dispatcher.py", "FLUSH_SECONDS: Final = 0.02", "FLUSH_SECONDS: Final = 0.5"),),
        ("kill -9 by the clock",),
    ),
    Mutant(
        "drop clerk and epoch from the WHERE of jobs",
        (
            (
                "store/jobs.py",
                "jobs.c.clerk == claim.worker,\n        jobs.c.clerk_epoch == claim.epoch,",
                "jobs.c.clerk_epoch >= 0,",
            ),
        ),
        ("freeze at a rename",),
    ),
    Mutant(
        "count no retries",
        (("dispatch/dispatcher.py", "        request.shard.retry(request)\n", ""),),
    ),
    Mutant(
        "count retries twice",
        (
            (
                "dispatch/shard.py",
                'OutcomeKind.RETRY, b"", 0, 0)\n',
                'OutcomeKind.RETRY, b"", 0, 0)\n' + 8 * " " + _NOTED,
            ),
        ),
    ),
    Mutant(
        "send again what has its outcome, and let the last one win",
        (
            ("dispatch/shard.py", "not in done] if done else", "not in done] if done is None else"),
            (
                "dispatch/segment.py",
                "self.outcomes.setdefault(entry.line_number, entry)",
                "self.outcomes[entry.line_number] = entry",
            ),
        ),
    ),
    Mutant(
        "read stored files without a look at their digests",
        (("store/verified.py", "if damaged is not None:", "if damaged is not None and not data:"),),
        ("misreadings",),
    ),
    Mutant(
        "reclaim without raising the epoch of shards",
        (("store/workers.py", "epoch=shards.c.epoch + 1", "epoch=shards.c.epoch"),),
    ),
    Mutant(
        "go on with a segment instead of copying it",
        (
            (
                "dispatch/segment.py",
                '    draft = path.with_name(path.name + ".draft")\n',
                _APPENDING,
            ),
        ),
    ),
    Mutant(
        "let no deadline pass",
        (("service/janitor.py", "        if overdue:\n", "        if not overdue and gone:\n"),),
        ("upstream down",),
    ),
    Mutant(
        "take a custom_id that came before",
        (
            (
                "service/duplicates.py",
                "yield _repeated(bucket) if len(distinct) < len(bucket) else set()",
                "yield set() if len(distinct) < len(bucket) else set()",
            ),
        ),
    ),
    Mutant(
        "make a new job of a wish that is sent again",
        (
            (
                "service/submission.py",
                "        earlier = self._earlier(tx, creation, now)\n",
                "        earlier, creation = None, replace(creation, idempotency_key=None)\n",
            ),
        ),
    ),
    Mutant(
        "let a power loss take the last commits",
        (("store/database.py", "PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL"),),
        ("power loss",),
    ),
    Mutant(
        "skip the sync of what is uploaded",
        (
            (
                "service/incoming.py",
                "            self._file.datasync()\n            self._file.close()\n",
                "            self._file.close()\n",
            ),
        ),
    ),
    Mutant(
        "replace the bytes of a file under its row",
        (
            (
                "service/files.py",
                "await self._database.write(partial(self._reopen, file_id=file.id))",
                "pass",
            ),
        ),
    ),
    Mutant(
        "remove parts before what is joined is synced",
        (("service/joining.py", "        file.datasync()\n", ""),),
    ),
    Mutant(
        "go on with a join behind what the last one left",
        (
            (
                "service/joining.py",
                "return self._disk.extend(joined, length)",
                "return self._disk.extend(joined, self._size(joined))",
            ),
        ),
        ("kill -9 at a write", "power loss"),
    ),
    Mutant(
        "keep what has arrived of uploads that have ended",
        (
            ("service/janitor.py", "        await self._clear_uploads()\n", ""),
            ("service/orphans.py", "        await self._clear_upload_folders()\n", ""),
        ),
    ),
    Mutant(
        "delete a file that a job reads",
        (("service/files.py", '            _refuse_in_use(tx, file_id, "deleted")\n', ""),),
    ),
    Mutant(
        "let a file expire that a job reads",
        (
            ("store/files.py", "files.c.expires_at <= now, is_present, ~read", _EXPIRED),
            ("service/janitor.py", "if files.reader_of(tx, file_id) is None:", "if file_id:"),
        ),
    ),
    Mutant(
        "post to webhooks in a transaction of its own",
        (
            (
                "store/jobs.py",
                "    if target in TERMINAL:\n",
                "    if target in TERMINAL and source not in PUBLISHING:\n",
            ),
            ("service/finalizer.py", _WRITTEN, _WRITTEN + _POSTING),
        ),
        insisted=("kill -9 between two awaits", "freeze at a commit"),
    ),
    Mutant(
        "record a delivery before it is sent",
        (
            (
                "service/webhooks/deliverer.py",
                "            attempt = await self._courier.send(webhook, delivery.event)\n",
                "            await self._record(webhook, delivery, Attempt(status=200))\n",
            ),
            (
                "service/webhooks/deliverer.py",
                "            await self._record(webhook, delivery, attempt)\n",
                "            await self._courier.send(webhook, delivery.event)\n",
            ),
        ),
    ),
    Mutant(
        "take a redirect for an acknowledgement",
        (("domain/webhook.py", "200 <= self.status < 300", "200 <= self.status < 400"),),
    ),
)
