"""The end of a run held against what was asked for and what was answered."""

import json
from bisect import bisect_right
from collections.abc import Container
from typing import TYPE_CHECKING, Final

from overnight.domain.job import TERMINAL, Job, JobStatus
from overnight.domain.request import FailureKind
from simulation.history import Reply
from simulation.process import Process
from simulation.workload import Order

if TYPE_CHECKING:
    from simulation.machine import Machine

KILL_SECONDS: Final = 0.05
"""What a kill may cost: outcomes that came so short before."""
POWER_SECONDS: Final = 1.0
"""What a power loss may cost."""


def judge(machine: "Machine", ended: list[Job]) -> None:
    """Look at every job, every line, every reply and everything left on the disk."""
    history = machine.history
    by_id = {job.id: job for job in ended}
    for order in machine.orders:
        job = by_id.get(order.job_id)
        if job is None:
            history.broke(f"{order.job_id} is not there")
        elif job.status not in TERMINAL:
            history.broke(f"{job.id} is still {job.status.value}: {job.counts} of {job.total}")
        else:
            _Examination(machine, order, job).run()
    history.counts["requests: asked for"] += sum(job.total for job in ended)
    history.counts["requests: sent"] += sum(len(sent) for sent in history.sent.values())
    history.counts["requests: sent again"] += sum(
        max(0, len(sent) - 1) for sent in history.sent.values()
    )
    _judge_disk(machine, ended)
    _judge_uploads(machine)
    _judge_wishes(machine)
    machine.receivers.judge()


def _judge_disk(machine: "Machine", ended: list[Job]) -> None:
    """Nothing is there that no row speaks of, nor lacks what one does."""
    blobs, rows = machine.blobs, machine.history.latest
    wanted = {blobs.file_path(file_id) for file_id in rows.files}
    evidence = {blobs.job_folder(job.id) for job in ended if _is_evidence(job)}
    for path in sorted(machine.left):
        if path not in wanted and not evidence & {*path.parents}:
            machine.history.broke(f"{path} is left behind")
    for file_id, row in rows.files.items():
        path = blobs.file_path(file_id)
        if row.is_readable and path not in machine.disk.files:
            machine.history.broke(f"{file_id} is not there: {row}")
        if row.deleted_at is not None and path in machine.left:
            machine.history.broke(f"{file_id} is still there: {row}")


def _is_evidence(job: Job) -> bool:
    """What a job was made from that failed after it was accepted is kept, to find out why."""
    return job.status is JobStatus.FAILED and JobStatus.IN_PROGRESS in job.entered_at


def _judge_uploads(machine: "Machine") -> None:
    """What users were told is stored is what they sent, unless they had it deleted."""
    for parcel in (*machine.parcels, *(order.parcel for order in machine.orders)):
        if parcel.file_id is not None:
            data = machine.disk.files.get(machine.blobs.file_path(parcel.file_id))
            if data != parcel.data and not (data is None and parcel.may_be_gone):
                found = "not there" if data is None else f"not what was sent: {data[:80]!r}"
                machine.history.broke(f"{parcel.name}, stored as {parcel.file_id}, is {found}")


def _judge_wishes(machine: "Machine") -> None:
    """Each wish made one job, however often it was sent."""
    for job_id in machine.history.latest.jobs.keys() - {order.job_id for order in machine.orders}:
        machine.history.broke(f"{job_id} is nobody's job")


class _Examination:
    """One job that has ended."""

    def __init__(self, machine: "Machine", order: Order, job: Job) -> None:
        self._machine = machine
        self._order = order
        self._job = job

    def _broke(self, what: str) -> None:
        self._machine.history.broke(f"{self._job.id} ({self._job.status.value}): {what}")

    def run(self) -> None:
        job, order = self._job, self._order
        self._machine.history.counts[f"jobs: {job.status.value}"] += 1
        self._check_status()
        output = self._lines(job.output_file_id)
        errors = self._lines(job.error_file_id)
        if job.total:
            found = sorted([*output, *errors])
            salvaged = self._was_misread and job.status is JobStatus.FAILED
            wanted = {*found} if salvaged else {*order.by_line}
            if found != sorted(wanted) or not wanted <= order.by_line.keys():
                self._broke(f"{len(found)} lines for {len(order.by_line)} requests")
                return
            if (len(output), len(errors)) != (job.counts.succeeded, job.counts.failed):
                self._broke(f"{len(output)} and {len(errors)} lines, counted as {job.counts}")
        elif output or errors:
            self._broke("it has no requests and has results")
        for number, line in output.items():
            self._check_success(number, line)
        for number, line in errors.items():
            self._check_failure(number, line)
        if not self._machine.history.violations:
            self._check_tokens(output)
            self._check_retries(output)

    @property
    def _was_misread(self) -> bool:
        return self._job.id in self._machine.history.misread_jobs

    def _check_status(self) -> None:
        job, order = self._job, self._order
        match job.status:
            case JobStatus.COMPLETED:
                fitting = not order.faulty_lines and job.total == len(order.asked)
            case JobStatus.CANCELLED:
                fitting = order.cancelled
            case JobStatus.EXPIRED:
                fitting = order.window_seconds < 1_000
            case JobStatus.FAILED if self._was_misread:
                fitting = True
            case _:
                fitting = [fault.line for fault in job.faults] == order.faulty_lines != []
        if not fitting:
            self._broke(f"it must not be: {job.failure}, {job.faults[:2]}")

    def _lines(self, file_id: str | None) -> dict[int, bytes]:
        """Result lines by the number of the input line in their ids; each comes once, in order."""
        if file_id is None:
            return {}
        machine = self._machine
        data = bytes(machine.disk.files.get(machine.blobs.file_path(file_id), b""))
        prefix = b'{"id":"batch_req_%b' % self._job.id.rpartition("_")[2].encode()
        lines: dict[int, bytes] = {}
        *whole, rest = data.split(b"\n")
        for line in whole:
            if not line.startswith(prefix) or not line.endswith(b"}") or rest:
                self._broke(f"{file_id} has the line {line[:120]!r}, and at its end {rest!r}")
                return lines
            lines[int(line.removeprefix(prefix)[:8], 16)] = line
        if list(lines) != sorted(lines) or len(lines) != data.count(b"\n"):
            self._broke(f"{file_id} has lines twice or out of order")
        return lines

    def _check_tokens(self, output: dict[int, bytes]) -> None:
        usages = [json.loads(line)["response"]["body"]["usage"] for line in output.values()]
        told = sum(u["prompt_tokens"] for u in usages), sum(u["completion_tokens"] for u in usages)
        counts = self._job.counts
        if told != (counts.prompt_tokens, counts.completion_tokens):
            self._broke(f"its replies took {told} tokens, counted as {counts}")

    def _check_retries(self, output: Container[int]) -> None:
        """Each vain sending of which somebody surely knows is counted once, and none twice."""
        if self._was_misread:
            return
        history, known, at_most = self._machine.history, 0, 0
        for number, asked in self._order.by_line.items():
            sent = history.sent.get(asked.number, [])
            again = [at for at, by in sent if _is_held(by, at)]
            at_most += len(sent) - (number in output)
            for reply in history.replies[asked.number]:
                place = bisect_right(again, reply.at)
                if not reply.is_success and place < len(again):
                    known += self._is_kept(reply, self._machine.ended_at)
        if not known <= self._job.counts.retries <= at_most:
            self._broke(f"{known} to {at_most} sendings were vain, counted as {self._job.counts}")

    def _check_success(self, line_number: int, line: bytes) -> None:
        asked = self._order.by_line[line_number]
        replies = self._machine.history.replies[asked.number]
        bodies = [reply.body for reply in replies if reply.is_success]
        begins = b'","custom_id":%b,"response":{"status_code":200,' % asked.custom_id
        if begins not in line:
            self._broke(f"line {line_number} of the output is not of {asked.custom_id!r}")
        if not any(line.endswith(b'"body":%b},"error":null}' % body) for body in bodies):
            self._broke(f"line {line_number} of the output is none of {len(bodies)} replies")
        self._check_work_was_kept(line_number, asked.number, replies)

    def _check_failure(self, line_number: int, line: bytes) -> None:
        asked, job = self._order.by_line[line_number], self._job
        told = json.loads(line)
        is_nameless = self._was_misread and told["custom_id"] == ""
        if not is_nameless and told["custom_id"] != json.loads(asked.custom_id):
            self._broke(f"line {line_number} of the errors is of {told['custom_id']!r}")
        code = told["error"]["code"]
        allowed = {kind.value for kind in FailureKind} - {FailureKind.WORKER_LOST.value}
        if self._was_misread:
            allowed |= {"internal_error", "batch_cancelled", "batch_expired"}
        if job.status is JobStatus.CANCELLED:
            allowed.add("batch_cancelled")
        elif job.status is JobStatus.EXPIRED:
            allowed.add("batch_expired")
        if self._machine.deaths >= 7:
            allowed.add(FailureKind.WORKER_LOST.value)
        if code not in allowed:
            self._broke(f"line {line_number} of the errors says {told['error']}")
        replies = self._machine.history.replies[asked.number]
        kept = self._check_work_was_kept(line_number, asked.number, replies)
        if kept is not None:
            self._broke(f"line {line_number} had its reply at {kept.at:.3f} s and says {code}")

    def _check_work_was_kept(
        self, line_number: int, number: int, replies: list[Reply]
    ) -> Reply | None:
        """Nothing is sent again after a reply that no fault can have taken; returns that one."""
        sent = [at for at, by in self._machine.history.sent.get(number, ()) if _is_held(by, at)]
        for reply in replies:
            place = bisect_right(sent, reply.at)
            again = sent[place] if place < len(sent) else self._machine.ended_at
            if reply.is_success and self._is_kept(reply, again):
                if place < len(sent):
                    self._broke(
                        f"line {line_number} had its reply at {reply.at:.3f} s and was sent again"
                        f" at {again:.3f} s"
                    )
                return reply
        return None

    def _is_kept(self, reply: Reply, until: float) -> bool:
        """Was it surely written down, and still there at `until`? It came to a process that lived,
        held its lease and could write long enough after.
        """
        if self._was_misread:
            return False
        history, process, at = self._machine.history, reply.to, reply.at
        if _lived(process, at, POWER_SECONDS):
            seconds = POWER_SECONDS
        elif _lived(process, at, KILL_SECONDS) and not any(
            at < loss < until for loss in history.power_losses
        ):
            seconds = KILL_SECONDS
        else:
            return False
        disks = ((b, e) for kind, b, e in history.hindered if kind in ("disk full", "slow disk"))
        return not any(
            begin < at + seconds and at < end + 1.5 for begin, end in (*disks, *process.freezes)
        )


def _is_held(process: Process, at: float) -> bool:
    """Had nobody declared it dead by then? A zombie that wakes up sends a little more."""
    return process.declared_dead_at is None or process.declared_dead_at > at


def _lived(process: Process, at: float, seconds: float) -> bool:
    """Did it live for so long after `at`, by itself and for all others?"""
    ends = (process.died_at, process.declared_dead_at, process.stopped_at)
    return all(end is None or end > at + seconds for end in ends)
