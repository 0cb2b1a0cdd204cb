"""`overnight run`: one job in one process, with a folder beside the output as its only memory.

The same validator, dispatcher and assembly as in the service; what the database does there, a
manifest does here. Each start takes the next epoch, so that a start after a crash takes the
segments over exactly as a worker takes over a dead worker's shards.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from xxhash import xxh3_128, xxh3_128_hexdigest

from overnight.dispatch.dispatcher import Dispatcher, DispatchOptions
from overnight.dispatch.lane import LaneOptions
from overnight.dispatch.segment import begin_segment, index_segment, open_latest
from overnight.dispatch.shard import OpenShard, ShardOrder
from overnight.dispatch.window import load_window
from overnight.domain.errors import ConfigurationError, Corrupt, InvalidRequest
from overnight.domain.job import Counts
from overnight.domain.plan import ShardPlan
from overnight.domain.request import Fault, LineRules
from overnight.domain.result_line import line_prefix
from overnight.seams import Disk, ReadFile, Seams
from overnight.service.assembly import Assembled, Assembly, AssemblyInput, ShardResult
from overnight.service.validator import Validation

_BLOCK_BYTES: Final = 4 * 1024 * 1024
_TURN_SECONDS: Final = 0.05
_SHUTDOWN_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class RunOptions:
    input: Path
    output: Path
    errors: Path
    endpoint: str
    rules: LineRules
    upstreams: tuple[LaneOptions, ...]
    dispatch: DispatchOptions
    overwrite: bool = False
    fresh: bool = False

    @property
    def state(self) -> Path:
        return self.output.with_name(self.output.name + ".overnight")


@dataclass(frozen=True, slots=True)
class RunProgress:
    """Where a run stands; `note` says what it waits for, if it waits."""

    stage: str
    done: int
    total: int
    counts: Counts = Counts()
    note: str = ""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of a run; `faults`: the input was refused and nothing was sent."""

    total: int = 0
    counts: Counts = Counts()
    resumed: int = 0
    """Requests that had their outcome from earlier starts."""
    faults: tuple[Fault, ...] = ()
    damage: tuple[str, ...] = ()
    already: bool = False
    """An earlier run of this input had finished."""


class _Manifest(msgspec.Struct, frozen=True):
    endpoint: str
    input_digest: str
    input_bytes: int
    total: int
    epoch: int
    shards: list[ShardPlan]
    version: int = 1


Report = Callable[[RunProgress], None]


class LocalRun:
    """One run, from checking the input to publishing the files. `report` is told how it goes."""

    def __init__(self, options: RunOptions, seams: Seams, report: Report) -> None:
        self._options = options
        self._seams = seams
        self._disk: Disk = seams.disk
        self._report = report
        self._segments = options.state / "segments"
        self._plan_path = options.state / "plan"
        self._manifest_path = options.state / "run.json"

    async def run(self) -> RunResult:
        """Do what is left to do. Raises `ConfigurationError` when files stand in the way.

        Cancelling it (Ctrl-C) leaves all outcomes so far on disk for the next start.
        """
        options = self._options
        if len({options.input, options.output, options.errors}) < 3:
            raise ConfigurationError("input, output and errors must be three different files")
        with closing(self._disk.open(options.input)) as input_file:
            if options.fresh:
                self._discard_state()
            manifest = self._load_manifest()
            if manifest is not None:
                self._check_same(manifest, input_file)
            if self._finished_before(input_file):
                self._discard_state()
                return RunResult(already=True)
            if manifest is None:
                validated = await self._validate(input_file)
                if isinstance(validated, RunResult):
                    return validated
                manifest = validated
            manifest = replace_epoch(manifest)
            self._save(manifest)
            try:
                resumed = await self._dispatch(manifest, input_file)
            except InvalidRequest as error:
                if not self._disk.list_folder(self._segments):
                    # Nothing was sent: the next try may be of a mended file.
                    self._discard_state()
                return RunResult(faults=(Fault(error.code, error.message, param=error.param),))
            assembled = await self._assemble(manifest, input_file)
        return RunResult(manifest.total, assembled.counts, resumed, damage=tuple(assembled.damage))

    # The state folder

    def _load_manifest(self) -> _Manifest | None:
        try:
            with closing(self._disk.open(self._manifest_path)) as file:
                return msgspec.json.decode(file.read_at(0, file.size()), type=_Manifest)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            message = f"{self._manifest_path} can not be read; start again with --fresh"
            raise Corrupt(message) from error

    def _save(self, manifest: _Manifest) -> None:
        draft = self._manifest_path.with_name("run.json.draft")
        self._disk.remove(draft)
        with closing(self._disk.create(draft)) as file:
            file.append([msgspec.json.encode(manifest)])
            file.datasync()
        self._disk.publish(draft, self._manifest_path)

    def _check_same(self, manifest: _Manifest, input_file: ReadFile) -> None:
        state = self._options.state
        if manifest.endpoint != self._options.endpoint:
            raise ConfigurationError(
                f"{state} belongs to a run on {manifest.endpoint}, not {self._options.endpoint};"
                " use that endpoint to resume, or --fresh to discard it"
            )
        same_size = manifest.input_bytes == input_file.size()
        if not same_size or manifest.input_digest != self._digest(input_file):
            raise ConfigurationError(
                f"{self._options.input} is not the file that {state} was made from;"
                " restore it to resume, or use --fresh to discard the earlier results"
            )

    def _discard_state(self) -> None:
        """The manifest goes first: while it is there, so is all that it speaks of."""
        self._disk.remove(self._manifest_path)
        self._disk.remove_folder(self._options.state)

    def _finished_before(self, input_file: ReadFile) -> bool:
        """Is the output that of a finished run of this input? Raises if a file is not ours."""
        options = self._options
        if options.overwrite:
            return False
        present = [path for path in (options.output, options.errors) if self._exists(path)]
        if not present:
            return False
        prefix = line_prefix(job_hex(self._digest(input_file), options.endpoint))
        heads = {path: self._head(path, len(prefix)) for path in present}
        output_is_ours = heads.get(options.output) == prefix
        errors_are_ours = heads.get(options.errors) == prefix
        if output_is_ours or (errors_are_ours and heads.get(options.output) == b""):
            return True
        if options.output not in heads and errors_are_ours:
            # They are published first: it was killed before the output followed.
            return False
        raise ConfigurationError(
            f"{present[0]} exists and is not the result of this input;"
            " use --overwrite to replace it, or another --output"
        )

    def _exists(self, path: Path) -> bool:
        return path.name in self._disk.list_folder(path.parent)

    def _head(self, path: Path, length: int) -> bytes:
        with closing(self._disk.open(path)) as file:
            return file.read_at(0, length)

    def _digest(self, input_file: ReadFile) -> str:
        digest = xxh3_128()
        total = input_file.size()
        for offset in range(0, total, _BLOCK_BYTES):
            digest.update(input_file.read_at(offset, _BLOCK_BYTES))
            self._report(RunProgress("comparing", min(offset + _BLOCK_BYTES, total), total))
        return digest.hexdigest()

    # The stages

    async def _validate(self, input_file: ReadFile) -> "_Manifest | RunResult":
        self._disk.remove_folder(self._options.state)
        self._disk.make_folder(self._segments)
        self._disk.make_folder(self._options.errors.parent)
        draft = self._plan_path.with_name("plan.draft")
        with closing(self._disk.create(draft)) as plan_file:
            validation = Validation(input_file, plan_file, self._options.rules)
            for step in validation.steps():
                self._report(RunProgress("validating", step.bytes_done, step.bytes_total))
                await asyncio.sleep(0)
            plan = validation.plan
            if plan is None:
                self._disk.remove_folder(self._options.state)
                return RunResult(faults=tuple(validation.faults))
            plan_file.datasync()
        self._disk.publish(draft, self._plan_path)
        return _Manifest(
            endpoint=self._options.endpoint,
            input_digest=plan.input_digest,
            input_bytes=input_file.size(),
            total=plan.total,
            epoch=0,
            shards=list(plan.shards),
        )

    async def _dispatch(self, manifest: _Manifest, input_file: ReadFile) -> int:
        """Send everything that has no outcome; returns how many requests had theirs before."""
        todo, before = await self._unfinished(manifest)
        if not todo:
            return before.finished
        dispatcher = Dispatcher(self._seams, self._options.dispatch)
        with (
            closing(self._disk.open(self._plan_path)) as plan_file,
            closing(self._seams.threads("loader")) as thread,
        ):
            # In a thread, for it waits for the disk: nothing is sent while the loop does.
            feeder = _Feeder(
                todo,
                RunProgress("sending", before.finished, manifest.total, before),
                dispatcher,
                lambda shard: thread.run(
                    lambda: self._open_shard(manifest, shard, plan_file, input_file)
                ),
            )
            try:
                async with self._draining(dispatcher):
                    for upstream in self._options.upstreams:
                        dispatcher.add_lane(upstream)
                    self._report(feeder.progress())
                    while feeder.unfinished:
                        await feeder.turn()
                        self._report(feeder.progress())
            finally:
                # Also what came in between Ctrl-C and the end.
                self._report(feeder.progress())
        return before.finished

    async def _unfinished(self, manifest: _Manifest) -> tuple[list[ShardPlan], Counts]:
        """The shards that lack an outcome, and what all have from earlier starts."""
        todo, before = [], Counts()
        for shard in manifest.shards:
            segment = open_latest(self._disk, self._segments, shard.ordinal, manifest.epoch)
            if segment is None:
                todo.append(shard)
                continue
            with closing(segment):
                index = index_segment(segment)
            before += index.counts
            if len(index.outcomes) < shard.requests:
                todo.append(shard)
            await asyncio.sleep(0)
        return todo, before

    @asynccontextmanager
    async def _draining(self, dispatcher: Dispatcher) -> AsyncIterator[None]:
        async with dispatcher.running():
            try:
                yield
            except asyncio.CancelledError:
                await dispatcher.drain(_SHUTDOWN_SECONDS)
                raise

    def _open_shard(
        self, manifest: _Manifest, shard: ShardPlan, plan_file: ReadFile, input_file: ReadFile
    ) -> OpenShard:
        order = ShardOrder(
            job_id="batch_" + job_hex(manifest.input_digest, manifest.endpoint),
            ordinal=shard.ordinal,
            epoch=manifest.epoch,
            model=shard.model,
            endpoint=manifest.endpoint,
        )
        window = load_window(plan_file, input_file, shard)
        writer, index = begin_segment(self._disk, self._segments, shard.ordinal, manifest.epoch)
        return OpenShard(order, window, writer, index)

    async def _assemble(self, manifest: _Manifest, input_file: ReadFile) -> Assembled:
        disk, options = self._disk, self._options
        drafts = [path.with_name(path.name + ".draft") for path in (options.output, options.errors)]
        for draft in drafts:
            disk.remove(draft)
        with (
            closing(disk.create(drafts[0])) as output,
            closing(disk.create(drafts[1])) as errors,
            closing(disk.open(self._plan_path)) as plan_file,
        ):
            source = AssemblyInput(
                job_hex=job_hex(manifest.input_digest, manifest.endpoint),
                plan_file=plan_file,
                input_file=input_file,
                segments=self._segments,
                shards=[ShardResult(s, manifest.epoch, settled=False) for s in manifest.shards],
                unsent=None,
            )
            assembly = Assembly(source, disk, output, errors)
            for done in assembly.steps():
                self._report(RunProgress("writing", done, manifest.total))
                await asyncio.sleep(0)
            output.datasync()
            errors.datasync()
        self._publish(drafts, assembly.result)
        return assembly.result

    def _publish(self, drafts: list[Path], assembled: Assembled) -> None:
        """Errors first: when the output is there, everything is."""
        output, errors = self._options.output, self._options.errors
        if assembled.error_bytes:
            self._disk.publish(drafts[1], errors)
        else:
            self._disk.remove(drafts[1])
            self._disk.remove(errors)
        self._disk.publish(drafts[0], output)
        self._discard_state()


class _Feeder:
    """Opens shards as the lanes want them and counts those that come back."""

    def __init__(
        self,
        shards: list[ShardPlan],
        start: RunProgress,
        dispatcher: Dispatcher,
        load: Callable[[ShardPlan], Awaitable[OpenShard]],
    ) -> None:
        self.unfinished = len(shards)
        self._start = start
        self._found = Counts()
        """What opened shards had from earlier starts, which `start` knows as well."""
        self._dispatcher = dispatcher
        self._load = load
        self._waiting: dict[str, deque[ShardPlan]] = {}
        for shard in shards:
            self._waiting.setdefault(shard.model, deque()).append(shard)

    async def turn(self) -> None:
        """Open what is wanted, and take back what is finished."""
        self._check_served()
        dispatcher = self._dispatcher
        for lane in dispatcher.lanes:
            while dispatcher.wanted(lane) > 0 and (shard := self._next(lane.serves)):
                opened = await self._load(shard)
                self._found += opened.counts
                dispatcher.open(opened)
        await asyncio.sleep(_TURN_SECONDS)
        while not dispatcher.finished.empty():
            dispatcher.finished.get_nowait()
            self.unfinished -= 1

    def _next(self, serves: Callable[[str], bool]) -> ShardPlan | None:
        for model, shards in self._waiting.items():
            if shards and serves(model):
                return shards.popleft()
        return None

    def _check_served(self) -> None:
        lanes = self._dispatcher.lanes
        if not all(lane.answered for lane in lanes) or any(lane.models is None for lane in lanes):
            return
        there = sorted(set().union(*(lane.models or () for lane in lanes)))
        for model, shards in self._waiting.items():
            if shards and model not in there:
                message = f"No upstream lists the model '{model}'; there are: {', '.join(there)}."
                raise InvalidRequest(message, param="body.model", code="model_not_found")

    def progress(self) -> RunProgress:
        counts = self._start.counts + self._dispatcher.counts - self._found
        return RunProgress(
            self._start.stage,
            counts.finished,
            self._start.total,
            counts,
            "; ".join(self._dispatcher.troubles()),
        )


def job_hex(input_digest: str, endpoint: str) -> str:
    """24 hex digits that a run's result ids carry; from the input, so that it is recognised."""
    return xxh3_128_hexdigest(f"{input_digest} {endpoint}".encode())[:24]


def replace_epoch(manifest: _Manifest) -> _Manifest:
    """The manifest of the next start."""
    return msgspec.structs.replace(manifest, epoch=manifest.epoch + 1)
