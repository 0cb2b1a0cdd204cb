"""Results put in order: what a line costs the clerk, beside `cat` of the same bytes.

The segments of a job are written as a worker leaves them, replies in the order in which they came
with 256 in flight. Counted are CPU microseconds per line, user and system, from the first byte
read to the last written: checksums of plan and segments, the order, the files, the digests of
their blocks. Syncing is left out, for `cat` does not. With one model the plan keeps the order of
the input; with five, each in every fifth line, five segments are merged all the time.

The first round is not counted: it writes into pages that a virtual machine has yet to be given,
which costs up to two microseconds a line, whoever writes.
"""

import heapq
import json
import random
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure
from bench.inputs import body
from bench.processes import own_cpu_seconds, run
from bench.scale import Scale
from bench.upstream import BODY
from overnight.dispatch.segment import begin_segment
from overnight.dispatch.window import read_records
from overnight.domain.plan import ShardPlan
from overnight.domain.request import LineRules, OutcomeKind, Success
from overnight.domain.result_line import line_prefix, success_line
from overnight.seams import SystemDisk
from overnight.service.assembly import Assembly, AssemblyInput, ShardResult
from overnight.service.salvage import PlanCheck
from overnight.service.validator import Validation

IN_FLIGHT = 256
JOB_HEX = "0123456789abcdef01234567"
SEED = 6


def figures(scale: Scale) -> Iterator[Figure]:
    lines = scale.of(1_000_000)
    yield from _with_models(scale, lines, 1, "the plan keeps the input's order", at_most=1)
    yield from _with_models(scale, lines, 5, "five models interleaved", at_most=3)


def _with_models(
    scale: Scale, lines: int, models: int, kind: str, at_most: float
) -> Iterator[Figure]:
    ours: list[float] = []
    copies: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        job = Job(Path(name), lines, models)
        for _ in range(scale.rounds + 1):
            ours.append(job.assemble() / lines * 1e6)
            copies.append(job.copy() / lines * 1e6)
    yield Figure(
        f"results in order, CPU per line, {kind}",
        "µs",
        ours[1:],
        at_most=at_most,
        peers={"cat": copies[1:]},
    )


@dataclass
class Job:
    """A job whose requests are all answered, in a folder."""

    folder: Path
    lines: int
    models: int

    def __post_init__(self) -> None:
        self.disk = SystemDisk()
        self.segments = self.folder / "segments"
        self.segments.mkdir()
        self.input, self.plan = self.folder / "input.jsonl", self.folder / "plan"
        with self.input.open("wb", 1 << 20) as file:
            bodies = [json.dumps(body(0, f"sim-{each}")).encode() for each in range(self.models)]
            for number in range(self.lines):
                end = bodies[number % self.models]
                file.write(b'{"custom_id": "request-%d", "body": %b}\n' % (number, end))
        self.shards = [self._answered(shard) for shard in self._validated()]

    def _validated(self) -> list[ShardPlan]:
        with (
            closing(self.disk.open(self.input)) as source,
            closing(self.disk.create(self.plan)) as plan,
        ):
            validation = Validation(source, plan, LineRules("/v1/chat/completions"))
            for _ in validation.steps():
                pass
        assert validation.plan is not None
        return validation.plan.shards

    def _answered(self, shard: ShardPlan) -> ShardResult:
        """Write the shard's segment, a frame for each sixth of what was in flight."""
        prefix, reply = line_prefix(JOB_HEX), Success(200, b'"req_1"', BODY)
        writer, _ = begin_segment(self.disk, self.segments, shard.ordinal, 1)
        with closing(self.disk.open(self.plan)) as plan:
            records = read_records(plan, shard)
        for done, number in enumerate(_as_they_come([each.line_number for each in records])):
            line = success_line(prefix, number, b'"request-%d"' % (number - 1), reply)
            writer.add(number, OutcomeKind.SUCCESS, line, 48, 96)
            if done % 40 == 39:
                writer.flush()
        writer.flush()
        writer.close()
        return ShardResult(shard, 1, True, writer.size, writer.digest)

    def assemble(self) -> float:
        """CPU seconds of what the clerk does to publish, but for syncs and the database."""
        targets = self.folder / "output", self.folder / "errors"
        before = own_cpu_seconds()
        with (
            closing(self.disk.open(self.plan)) as plan,
            closing(self.disk.open(self.input)) as source,
            closing(self.disk.create(targets[0])) as output,
            closing(self.disk.create(targets[1])) as errors,
        ):
            for _ in PlanCheck(plan, [each.plan for each in self.shards]).steps():
                pass
            job = AssemblyInput(JOB_HEX, plan, source, self.segments, self.shards, None)
            assembly = Assembly(job, self.disk, output, errors)
            for _ in assembly.steps():
                pass
        spent = own_cpu_seconds() - before
        assert assembly.result.counts.succeeded == self.lines
        for target in targets:
            target.unlink()
        return spent

    def copy(self) -> float:
        target = self.folder / "copy"
        cost = run(["sh", "-c", 'cat "$0"/* > "$1"', self.segments, target])
        target.unlink()
        return cost.cpu_seconds


def _as_they_come(numbers: list[int]) -> Iterator[int]:
    """In the order of replies that each take a time drawn evenly from a range."""
    dice = random.Random(SEED)
    flying: list[tuple[float, int]] = []
    now = 0.0
    for number in numbers:
        if len(flying) == IN_FLIGHT:
            now, landed = heapq.heappop(flying)
            yield landed
        heapq.heappush(flying, (now + dice.uniform(1, 3), number))
    yield from (landed for _, landed in sorted(flying))
