"""What has happened, and the rules that every single commit, sending and reply must keep.

`watch` looks at the rows before and after each transaction. A rule that is broken is written
down in `violations`, and ends the run.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from sqlalchemy import Connection, Engine
from xxhash import xxh3_64_hexdigest

from overnight.dispatch.segment import segment_path
from overnight.domain.file import FileStatus
from overnight.domain.job import TERMINAL, TRANSITIONS, JobStatus
from overnight.domain.plan import RECORD
from simulation.process import Process
from support.fake_network import Sent
from support.memory_disk import Written

if TYPE_CHECKING:
    from simulation.machine import Machine

T = TypeVar("T")

_MOVES: Final = {(source, target) for (source, _), target in TRANSITIONS.items()}
_BY_CLERK: Final = frozenset(
    (source, target)
    for (source, event), target in TRANSITIONS.items()
    if event.value in ("accepted", "rejected", "published", "salvaged")
)
_HAVE_DEADLINE: Final = frozenset({JobStatus.VALIDATING, JobStatus.IN_PROGRESS})
_LATE_SECONDS: Final = 3.0
_OVERDUE_SECONDS: Final = 30.0
"""By then a job has ended: three for those under way, a lease for who holds its shards and is
frozen, ten for a disk that has refused, and the time to write its files."""


class JobRow(NamedTuple):
    status: JobStatus
    clerk: str | None
    clerk_epoch: int
    total: int
    succeeded: int
    failed: int
    output: str | None
    errors: str | None
    input: str
    deadline: float

    @property
    def lasting(self) -> tuple[object, ...]:
        return self.status, *self[3:]


class FileRow(NamedTuple):
    status: str
    bytes: int
    sha256: str | None
    deleted_at: float | None

    @property
    def is_readable(self) -> bool:
        """For its user, it is there and has its bytes."""
        return self.deleted_at is None and self.status == FileStatus.READY


class ShardRow(NamedTuple):
    worker: str | None
    epoch: int
    requests: int
    first_record: int
    segment_epoch: int | None
    segment_bytes: int | None


@dataclass
class Rows:
    jobs: dict[str, JobRow]
    shards: dict[tuple[str, int], ShardRow]
    workers: dict[str, float]
    files: dict[str, FileRow]

    @classmethod
    def read(cls, tx: Connection) -> "Rows":
        ask = tx.connection.driver_connection.execute  # type: ignore[union-attr]
        jobs = ask(
            "SELECT id, status, clerk, clerk_epoch, total, succeeded, failed, output_file_id,"
            " error_file_id, input_file_id, deadline FROM jobs ORDER BY id"
        )
        shards = ask(
            "SELECT job_id, ordinal, worker, epoch, requests, first_record, segment_epoch,"
            " segment_bytes FROM shards ORDER BY job_id, ordinal"
        )
        files = ask("SELECT id, status, bytes, sha256, deleted_at FROM files ORDER BY id")
        return cls(
            {row[0]: JobRow(JobStatus(row[1]), *row[2:]) for row in jobs},
            {(row[0], row[1]): ShardRow(*row[2:]) for row in shards},
            dict(ask("SELECT id, until FROM workers ORDER BY id")),
            {row[0]: FileRow(*row[1:]) for row in files},
        )

    def reader_of(self, file_id: str) -> str | None:
        """A job that has not ended and is made of this file."""
        live = (id for id, job in self.jobs.items() if job.status not in TERMINAL)
        return next((id for id in live if self.jobs[id].input == file_id), None)

    def __str__(self) -> str:
        return f"{self.jobs} {self.shards} {self.workers} {self.files}"


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply that reached the process `to`; `is_success`: it is its request's outcome."""

    at: float
    to: Process
    status: int
    body: bytes
    is_success: bool


@dataclass
class History:
    machine: "Machine"
    commits: int = 0
    latest: Rows = field(default_factory=lambda: Rows({}, {}, {}, {}))
    """As the last commit left them."""
    violations: list[str] = field(default_factory=list)
    sent: dict[int, list[tuple[float, Process]]] = field(default_factory=lambda: defaultdict(list))
    replies: dict[int, list[Reply]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)
    """Faults by kind, and what came of them."""
    hindered: list[tuple[str, float, float]] = field(default_factory=list)
    """Kind, begin and end of what kept the system from doing its work in time."""
    misread: set[Path] = field(default_factory=set)
    """Each once: of a segment that can not be read whole the good parts are read twice."""
    misread_jobs: set[str] = field(default_factory=set)
    """Jobs of whose files something was read that was not written there."""
    power_losses: list[float] = field(default_factory=list)
    _overdue_since: dict[str, float] = field(default_factory=dict)

    def broke(self, what: str) -> None:
        self.machine.trace(None, f"VIOLATION {what}")
        self.violations.append(f"at {self.machine.loop.time():.3f} s: {what}")

    # Sending

    def sends(self, sent: Sent, process: Process) -> None:
        self.machine.trace(process, f"sends {sent.number} to {sent.target}")
        self.sent[sent.number].append((sent.at, process))
        if sent.at > max(process.leased_until, process.thawed_at):
            self.broke(f"{process} sends {sent.number} after its lease has run out")
        order = self.machine.order_of(sent.number)
        late = self.machine.wall() - order.deadline
        if late > _LATE_SECONDS and self.machine.calm_for(_LATE_SECONDS):
            self.broke(f"{process} sends {sent.number} {late:.1f} s after its job's deadline")
        if sent.body not in order.parcel.data:
            self.broke(f"{process} sends {sent.number} with other bytes than were asked for")

    def replied(self, number: int, reply: Reply) -> None:
        digest = xxh3_64_hexdigest(reply.body)
        self.machine.trace(reply.to, f"hears {reply.status} {digest} for {number}")
        self.replies[number].append(reply)

    def renames(self, process: Process, path: Path, target: Path) -> None:
        data = self.machine.disk.files.get(path)
        if isinstance(data, Written) and data.safe_bytes < len(data):
            self.broke(f"{process} renames {path}, {data.safe_bytes} of {len(data)} bytes safe")
        row = self._row_of(target)
        if row is not None and row.is_readable and row.sha256 and not _is_of(row, data):
            self.broke(f"{process} puts other bytes in the place of {target}")

    def removes(self, process: Process, path: Path) -> None:
        """What a job is made of goes after its end, not before it."""
        folder = path.parent.parent if path.parent.name == "segments" else path.parent
        row = self.latest.jobs.get(folder.name)
        if path.suffix != ".draft" and row is not None and row.status not in TERMINAL:
            self.broke(f"{process} removes {path} of a job that is {row.status.value}")
        file = self._row_of(path)
        if file is not None and file.deleted_at is None:
            self.broke(f"{process} removes {path}, and nobody had deleted the file")

    def _row_of(self, path: Path) -> FileRow | None:
        is_file = path.parent == self.machine.blobs.file_path("any").parent
        return self.latest.files.get(path.name) if is_file else None

    def misreads(self, process: Process, path: Path) -> bool:
        """May the disk read this wrongly? Then the job has an excuse, and is named."""
        live = [id for id, row in self.latest.jobs.items() if row.status not in TERMINAL]
        of = [id for id in live if self.latest.jobs[id].input == path.name or id in path.parts]
        if process.role == "api" or not of or path in self.misread:
            return False
        self.misread.add(path)
        self.machine.trace(process, f"misreads {path}")
        self.misread_jobs.update(of)
        return True

    def lives(self, process: Process) -> None:
        """Looked at now and then: one whose lease has run out has to end by itself."""
        over = self.machine.loop.time() - max(process.leased_until, process.thawed_at)
        if process.alive and not process.is_frozen and process.leased_until and over > 0.5:
            self.broke(f"{process} lives {over:.1f} s longer than its lease")

    def keeps_time(self) -> None:
        """Looked at now and then: jobs whose deadline has passed have to end."""
        for job_id, row in self.latest.jobs.items():
            if self.machine.wall() < row.deadline:
                self._overdue_since.pop(job_id, None)
                continue
            # One whose user was kept waiting may be overdue from its first moment on.
            now = self.machine.loop.time()
            late = now - self._overdue_since.setdefault(job_id, now)
            if row.status in _HAVE_DEADLINE:
                is_late = late > _LATE_SECONDS and self.machine.keeps_house_for(_LATE_SECONDS)
            else:
                is_late = late > _OVERDUE_SECONDS and self.machine.well_for(_OVERDUE_SECONDS)
            if is_late and row.status not in TERMINAL:
                self.broke(f"{job_id} is {row.status.value} {late:.1f} s after its deadline")

    # Committing

    def rows_lost(self, engine: Engine) -> None:
        """A power loss has taken commits back."""
        before = self.latest
        with engine.begin() as tx:
            self.latest = Rows.read(tx)
        for job_id, old in before.jobs.items():
            new = self.latest.jobs.get(job_id)
            if old.status in TERMINAL and (new is None or new.lasting != old.lasting):
                self.broke(f"{job_id} had ended as {old} and is after a power loss {new}")

    def watch(self, process: Process, tx: Connection, work: Callable[[Connection], T]) -> T:
        """Run a transaction of `process` and hold what it did against the rules."""
        connection = tx.connection.driver_connection
        assert connection is not None
        # Nobody commits but through here.
        before, changes = self.latest, connection.total_changes
        self.machine.commits.begun()
        result = work(tx)
        if connection.total_changes != changes:
            after = self.latest = Rows.read(tx)
            self.commits += 1
            process.own_commits += 1
            self.machine.trace(process, f"commits {xxh3_64_hexdigest(str(after).encode())}")
            self._check_lease(process, before, after)
            for job_id, row in after.jobs.items():
                if job_id in before.jobs:
                    self._check_job(process, before, after, job_id, before.jobs[job_id], row)
            for key, shard in before.shards.items():
                if key in after.shards and after.shards[key] != shard:
                    self._check_shard(process, key, shard, after.shards[key], after)
            for file_id, file in after.files.items():
                if before.files.get(file_id) != file:
                    self._check_file(process, file_id, file, before)
        return result

    def _check_file(self, process: Process, file_id: str, new: FileRow, before: Rows) -> None:
        safe = self.machine.disk.safe(self.machine.blobs.file_path(file_id))
        if new.is_readable and not _is_of(new, safe):
            self.broke(f"{process} says that {file_id} is there: {new}, and it is not safe")
        reader = before.reader_of(file_id)
        if new.deleted_at is not None and reader is not None:
            self.broke(f"{process} deletes {file_id}, which {reader} reads")

    def _check_lease(self, process: Process, before: Rows, after: Rows) -> None:
        for gone in before.workers.keys() - after.workers.keys():
            if gone != process.id:
                self.machine.declared_dead(gone)
        if process.role == "worker" and process.leased_until and process.id not in before.workers:
            self.broke(f"{process} commits although it was declared dead")
        if after.workers.get(process.id, 0.0) != before.workers.get(process.id, 0.0):
            process.leased_until = self.machine.loop.time() + self.machine.lease_seconds

    def _check_job(
        self, process: Process, before: Rows, after: Rows, job_id: str, old: JobRow, new: JobRow
    ) -> None:
        if old.status in TERMINAL and new.lasting != old.lasting:
            self.broke(f"{job_id} has ended as {old} and is now {new}")
        if new.clerk_epoch < old.clerk_epoch:
            self.broke(f"the clerk's epoch of {job_id} fell from {old.clerk_epoch}")
        if new.succeeded + new.failed > new.total:
            self.broke(f"{job_id} counts more outcomes than requests: {new}")
        if new.status is old.status:
            return
        move = (old.status, new.status)
        self.machine.trace(process, f"moves {job_id} to {new.status.value}")
        if move not in _MOVES:
            self.broke(f"{job_id} went from {old.status.value} to {new.status.value}")
        if move in _BY_CLERK and old.clerk != process.id:
            self.broke(f"{process} ends a step of {job_id}, which {old.clerk} holds")
        if new.status is JobStatus.FINALIZING and new.succeeded + new.failed != new.total:
            self.broke(f"{job_id} is complete and counts {new}")
        if new.status is JobStatus.IN_PROGRESS:
            self._check_plan(job_id, new, after)
        if new.status in TERMINAL:
            self._check_published(job_id, new, before)

    def _check_plan(self, job_id: str, new: JobRow, after: Rows) -> None:
        planned = sum(row.requests for key, row in after.shards.items() if key[0] == job_id)
        plan = self.machine.disk.safe(self.machine.blobs.plan_path(job_id)) or b""
        if planned != new.total or len(plan) != new.total * RECORD.size:
            self.broke(
                f"{job_id} begins with {planned} of {new.total} requests, {len(plan)} B safe"
            )

    def _check_published(self, job_id: str, new: JobRow, before: Rows) -> None:
        for key, shard in before.shards.items():
            if key[0] == job_id and shard.worker is not None and shard.segment_epoch is None:
                self.broke(f"{job_id} is published while {shard.worker} holds its shard {key[1]}")
        for file_id in _files(new):
            path = self.machine.blobs.file_path(file_id)
            if self.machine.disk.safe(path) != bytes(self.machine.disk.files.get(path, b"")):
                self.broke(f"{job_id} has ended and a power loss would take {file_id}")

    def _check_shard(
        self,
        process: Process,
        key: tuple[str, int],
        old: ShardRow,
        new: ShardRow,
        after: Rows,
    ) -> None:
        name = f"shard {key[1]} of {key[0]}"
        if new.epoch < old.epoch:
            self.broke(f"the epoch of {name} fell from {old.epoch} to {new.epoch}")
        if old.segment_epoch is not None:
            self.broke(f"{name} was settled and is changed: {old} to {new}")
        elif new.segment_epoch is not None:
            if (old.worker, old.epoch) != (process.id, new.segment_epoch):
                self.broke(f"{process} settles {name}, held by {old.worker} in epoch {old.epoch}")
            self._check_segment(name, key, new)
        elif new.worker not in (None, old.worker):
            by_turns = old.worker is None or old.epoch + 1 < new.epoch
            if not by_turns or new.worker != process.id or new.epoch <= old.epoch:
                self.broke(f"{process} gives {name} from {old} to {new}")
        elif new.worker is None and old.worker not in (None, process.id):  # noqa: SIM102
            if old.worker in after.workers or new.epoch <= old.epoch:
                self.broke(f"{process} takes {name} from {old.worker}, which lives")

    def _check_segment(self, name: str, key: tuple[str, int], new: ShardRow) -> None:
        folder = self.machine.blobs.segments_folder(key[0])
        path = segment_path(folder, key[1], new.segment_epoch or 0)
        safe = len(self.machine.disk.safe(path) or b"")
        if safe < (new.segment_bytes or 0):
            self.broke(f"{name} is settled with {new.segment_bytes} bytes, {safe} of them safe")


def _is_of(row: FileRow, data: bytes | bytearray | None) -> bool:
    return (
        data is not None
        and len(data) == row.bytes
        and (row.sha256 is None or sha256(data).hexdigest() == row.sha256)
    )


def _files(row: JobRow) -> list[str]:
    return [file_id for file_id in (row.output, row.errors) if file_id is not None]
