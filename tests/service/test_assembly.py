"""Result files from plan and segments: every request once, in order, whatever is missing."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.dispatch.segment import begin_segment, segment_path
from overnight.dispatch.shard import OpenShard, ShardOrder
from overnight.dispatch.window import load_window
from overnight.domain.job import Counts
from overnight.domain.plan import RECORD, SHARD_REQUESTS_MAX
from overnight.domain.request import Failure, FailureKind, LineRules, Success
from overnight.domain.result_line import Unsent
from overnight.seams import Disk, ReadFile, SystemDisk
from overnight.service.assembly import (
    HELD_BYTES_MAX,
    Assembled,
    Assembly,
    AssemblyInput,
    ShardResult,
)
from overnight.service.validator import ValidatedPlan, Validation
from support.memory_disk import MemoryDisk

JOB_HEX = "0123456789abcdef01234567"
CHAT = "/v1/chat/completions"
SUCCEED, FAIL, LEAVE = "succeed", "fail", "leave"
FAILURE = Failure(FailureKind.STATUS, "no", 400, None, b"<html>")


class Job:
    """A validated input and its shards, worked on as a test likes."""

    def __init__(self, disk: Disk, folder: Path, models: list[str]) -> None:
        self.disk = disk
        self.models = models
        self._input, self.plan_path = folder / "input", folder / "plan"
        self.segments = folder / "segments"
        disk.make_folder(self.segments)
        with closing(disk.create(self._input)) as file:
            lines = [
                {"custom_id": f"ü{number}", "body": {"model": model, "messages": []}}
                for number, model in enumerate(models, 1)
            ]
            file.append([json.dumps(line).encode() + b"\n" for line in lines])
        self.plan = self._validate()
        self.shards: list[ShardResult] = []

    def _validate(self) -> ValidatedPlan:
        with (
            closing(self.disk.open(self._input)) as source,
            closing(self.disk.create(self.plan_path)) as target,
        ):
            validation = Validation(source, target, LineRules(CHAT))
            for _ in validation.steps():
                pass
        assert validation.plan is not None
        return validation.plan

    def work(self, fate: Callable[[int], str], *, settled: bool = True, epoch: int = 1) -> None:
        """Give every request its fate by its line number, and settle the shards or not."""
        self.shards.clear()
        for shard in self.plan.shards:
            order = ShardOrder("batch_" + JOB_HEX, shard.ordinal, epoch, shard.model, CHAT)
            with (
                closing(self.disk.open(self.plan_path)) as plan_file,
                closing(self.disk.open(self._input)) as input_file,
            ):
                window = load_window(plan_file, input_file, shard)
            writer, index = begin_segment(self.disk, self.segments, shard.ordinal, epoch)
            opened = OpenShard(order, window, writer, index)
            while (request := opened.take()) is not None:
                _do(opened, request.line_number, fate, request)
            opened.flush()
            opened.close()
            result = ShardResult(shard, epoch, settled, opened.segment_bytes, opened.segment_digest)
            self.shards.append(result)

    def segment(self, ordinal: int = 0) -> Path:
        return segment_path(self.segments, ordinal, self.shards[ordinal].epoch)

    def assemble(
        self, unsent: tuple[str, str] | None = None, held_bytes_max: int = HELD_BYTES_MAX
    ) -> "Results":
        out, err = self.segments / "out", self.segments / "err"
        for path in (out, err):
            self.disk.remove(path)
        with (
            closing(self.disk.create(out)) as output,
            closing(self.disk.create(err)) as errors,
            closing(self.disk.open(self.plan_path)) as plan_file,
            closing(self.disk.open(self._input)) as input_file,
        ):
            source = AssemblyInput(
                JOB_HEX, plan_file, input_file, self.segments, self.shards, unsent
            )
            assembly = Assembly(source, self.disk, output, errors, held_bytes_max)
            steps = list(assembly.steps())
        assert steps == sorted(steps)
        return Results(assembly.result, _read(self.disk, out), _read(self.disk, err))


def _do(shard: OpenShard, number: int, fate: Callable[[int], str], request: Any) -> None:
    match fate(number):
        case "succeed":
            body = b'{"line":%d}' % number
            shard.succeed(request, Success(200, None, body, prompt_tokens=2, completion_tokens=3))
        case "fail":
            shard.fail(request, FAILURE)


def _read(disk: Disk, path: Path) -> bytes:
    with closing(disk.open(path)) as file:
        return file.read_at(0, file.size())


class Results:
    def __init__(self, result: Assembled, output: bytes, errors: bytes) -> None:
        self.result = result
        self.raw = output, errors
        self.output = [json.loads(line) for line in output.splitlines()]
        self.errors = [json.loads(line) for line in errors.splitlines()]
        assert (result.output_bytes, result.error_bytes) == (len(output), len(errors))
        assert (result.counts.succeeded, result.counts.failed) == (
            len(self.output),
            len(self.errors),
        )

    @property
    def numbers(self) -> tuple[list[int], list[int]]:
        """Line numbers in the output and in the errors, as the files have them."""
        return _numbers(self.output), _numbers(self.errors)

    @property
    def codes(self) -> set[str]:
        return {line["error"]["code"] for line in self.errors}


def _numbers(lines: list[dict[str, Any]]) -> list[int]:
    numbers = [int(line["custom_id"].removeprefix("ü")) for line in lines]
    assert [int(line["id"][-8:], 16) for line in lines] == numbers
    return numbers


fates = st.sampled_from([SUCCEED, FAIL, LEAVE])


@given(st.lists(st.tuples(st.sampled_from("abc"), fates), min_size=1, max_size=40), st.booleans())
def test_every_request_gets_one_line_in_input_order(
    requests: list[tuple[str, str]], settled: bool
) -> None:
    job = Job(MemoryDisk(), Path("job"), [model for model, _ in requests])
    job.work(lambda number: requests[number - 1][1], settled=settled)
    results = job.assemble(Unsent.CANCELLED)
    by_fate = {
        fate: [n for n, (_, given) in enumerate(requests, 1) if given == fate]
        for fate in (SUCCEED, FAIL, LEAVE)
    }
    assert results.numbers == (by_fate[SUCCEED], sorted(by_fate[FAIL] + by_fate[LEAVE]))
    cancelled = [line for line in results.errors if line["error"]["code"] == "batch_cancelled"]
    assert _numbers(cancelled) == by_fate[LEAVE]
    assert all(line["response"] is None for line in cancelled)
    done = len(by_fate[SUCCEED])
    assert results.result.counts == Counts(done, len(requests) - done, 2 * done, 3 * done)
    assert (results.result.lost, results.result.damage) == (0, [])


def test_several_shards_and_models_on_a_real_disk(tmp_path: Path) -> None:
    count = 2 * SHARD_REQUESTS_MAX + 500
    job = Job(SystemDisk(), tmp_path, ["ab"[n % 3 == 0] for n in range(count)])
    assert len(job.plan.shards) > 2
    job.work(lambda number: FAIL if number % 7 == 0 else SUCCEED)
    results = job.assemble()
    expected = range(1, count + 1)
    assert results.numbers == ([n for n in expected if n % 7], [n for n in expected if not n % 7])
    assert [line["response"]["body"] for line in results.output[:2]] == [{"line": 1}, {"line": 2}]


@pytest.mark.parametrize("models", ["a", "abc"])
@pytest.mark.parametrize("fates", [[SUCCEED], [SUCCEED, FAIL], [SUCCEED, FAIL, LEAVE]])
def test_what_is_too_much_to_be_held_is_read_when_it_is_due(models: str, fates: list[str]) -> None:
    job = Job(MemoryDisk(), Path("job"), list(models) * (1_500 // len(models)))
    job.work(lambda number: fates[number % len(fates)])
    held = job.assemble(Unsent.EXPIRED)
    read = job.assemble(Unsent.EXPIRED, held_bytes_max=1_000)
    assert read.raw == held.raw
    assert read.result == held.result


def test_assembling_twice_gives_the_same_bytes() -> None:
    job = Job(MemoryDisk(), Path("job"), list("aabab"))
    job.work(lambda number: (SUCCEED, FAIL, LEAVE)[number % 3])
    assert job.assemble(Unsent.EXPIRED).raw == job.assemble(Unsent.EXPIRED).raw


def test_a_shard_nobody_ever_held_is_all_unsent() -> None:
    job = Job(MemoryDisk(), Path("job"), ["a"] * 3)
    job.shards = [ShardResult(shard, 0, settled=False) for shard in job.plan.shards]
    results = job.assemble(Unsent.EXPIRED)
    assert results.numbers == ([], [1, 2, 3])
    assert results.codes == {"batch_expired"}
    assert results.result.lost == 0


def test_of_a_shard_not_settled_the_newest_segment_up_to_its_epoch_counts() -> None:
    job = Job(MemoryDisk(), Path("job"), ["a"] * 3)
    job.work(lambda number: SUCCEED if number == 1 else LEAVE, settled=False, epoch=1)
    job.work(lambda number: SUCCEED if number == 2 else LEAVE, settled=False, epoch=4)
    job.shards = [ShardResult(shard, 6, settled=False) for shard in job.plan.shards]
    assert job.assemble(Unsent.CANCELLED).numbers == ([1, 2], [3])


# What should be there and is not


def test_in_a_job_that_should_be_whole_a_hole_is_a_loss() -> None:
    job = Job(MemoryDisk(), Path("job"), ["a"] * 4)
    job.work(lambda number: SUCCEED if number != 2 else LEAVE)
    results = job.assemble()
    assert results.numbers == ([1, 3, 4], [2])
    assert results.codes == {"internal_error"}
    assert results.result.lost == 1


@pytest.mark.parametrize("unsent", [None, Unsent.CANCELLED])
def test_a_settled_segment_cut_short_loses_what_was_behind(
    unsent: tuple[str, str] | None,
) -> None:
    disk = MemoryDisk()
    job = Job(disk, Path("job"), ["a"] * 5)
    job.work(lambda _: SUCCEED)
    del disk.files[job.segment()][-1:]
    results = job.assemble(unsent)
    assert results.numbers == ([], [1, 2, 3, 4, 5])
    assert results.codes == {"internal_error"}
    assert results.result.lost == 5
    assert "shard 0" in results.result.damage[0]


class RottingDisk(MemoryDisk):
    """Everything of a segment that is read a second time has changed by then."""

    def open(self, path: Path) -> ReadFile:
        return Rotting(super().open(path)) if path.name.startswith("0000") else super().open(path)


class Rotting:
    def __init__(self, file: ReadFile) -> None:
        self._file = file
        self._seen: set[int] = set()
        self.size, self.close = file.size, file.close

    def read_at(self, offset: int, length: int) -> bytes:
        data = bytearray(self._file.read_at(offset, length))
        span = range(offset, offset + len(data))
        for place in self._seen.intersection(span):
            data[place - offset] ^= 1
        self._seen.update(span)
        return bytes(data)


def test_what_is_copied_is_what_was_checked() -> None:
    """Not a second reading of it, which may be another."""
    job = Job(RottingDisk(), Path("job"), ["a"] * 4)
    job.work(lambda _: SUCCEED)
    results = job.assemble()
    bodies = [line["response"]["body"] for line in results.output]
    assert bodies == [{"line": number} for number in range(1, 5)]
    assert results.result.damage == []


def test_a_settled_segment_that_is_gone_is_damage() -> None:
    disk = MemoryDisk()
    job = Job(disk, Path("job"), ["a"] * 2)
    job.work(lambda _: SUCCEED)
    disk.remove(job.segment())
    results = job.assemble()
    assert (results.result.lost, len(results.result.damage)) == (2, 1)


def test_damage_to_one_shard_says_nothing_of_the_holes_of_another() -> None:
    disk = MemoryDisk()
    job = Job(disk, Path("job"), ["a", "a", "b", "b"])
    job.work(lambda number: SUCCEED if number in (1, 3) else LEAVE)
    disk.files[job.segment(0)][-1] ^= 1
    results = job.assemble(Unsent.CANCELLED)
    codes = {int(line["id"][-8:], 16): line["error"]["code"] for line in results.errors}
    assert codes == {1: "internal_error", 2: "internal_error", 4: "batch_cancelled"}
    assert results.numbers[0] == [3]
    assert results.result.lost == 2


def test_a_damaged_plan_costs_only_what_had_no_outcome() -> None:
    disk = MemoryDisk()
    job = Job(disk, Path("job"), ["a", "b", "a", "b", "a"])
    job.work(lambda number: LEAVE if number == 5 else SUCCEED)
    damaged = next(shard for shard in job.plan.shards if shard.model == "a")
    disk.files[job.plan_path][damaged.first_record * RECORD.size] ^= 1
    results = job.assemble()
    assert results.numbers == ([1, 2, 3, 4], [])
    assert results.result.lost == 1
    assert "plan" in results.result.damage[0]
