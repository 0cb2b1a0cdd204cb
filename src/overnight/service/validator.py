"""The validator: reads an input file once, checks every line and writes the plan."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, count, repeat
from typing import Final, NamedTuple, Protocol

import msgspec
from xxhash import xxh3_64_intdigest, xxh3_128

from overnight.domain import line_faults
from overnight.domain.fault_codes import FaultCode
from overnight.domain.file_format import HEAD_BYTES, foreign_format
from overnight.domain.line import AlikeLines, CheckedLine, LineChecker
from overnight.domain.plan import RECORD, CutShard, ShardCutter, ShardPlan
from overnight.domain.request import FAULTS_MAX, MODEL_CHARACTERS_MAX, Fault, LineRules
from overnight.seams import AppendFile, ReadFile
from overnight.service.duplicates import BUCKETS, IdDigest, IdDigests
from overnight.service.line_reader import BLOCK_BYTES, LineBatch, LineReader

MODELS_MAX: Final = 1_000
"""Distinct models per file; an unfinished shard of each is held in memory."""

LINES_MAX: Final = 2**32 - 1
"""What a plan record can count."""

_IDS_PER_STEP: Final = 20_000
_SUSPECTS_MAX: Final = 4 * FAULTS_MAX
"""Digests to look at again: enough to fill a report several times."""


class ValidationProgress(NamedTuple):
    bytes_done: int
    bytes_total: int
    lines: int


@dataclass(frozen=True, slots=True)
class ValidatedPlan:
    """What validation found out about a file without faults."""

    shards: list[ShardPlan]
    total: int
    """Requests."""
    models: list[str]
    input_digest: str
    """xxh3-128 of all bytes of the file, in hex."""
    bytes_read: int
    body_bytes: int
    url: str | None
    """The one url the lines named; None when none did."""

    @property
    def model(self) -> str | None:
        """The model of all requests; None when there are several."""
        return self.models[0] if len(self.models) == 1 else None


class LineObserver(Protocol):
    """Is shown every line that is good by itself, with its number."""

    def __call__(self, number: int, line: bytes, checked: CheckedLine, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Tuning:
    """What tests turn to reach the rare cases."""

    block_bytes: int = BLOCK_BYTES
    id_digest: IdDigest = xxh3_64_intdigest


class _Enough(Exception):  # noqa: N818  never leaves this module
    """Nothing further need be read: the file is refused as a whole, or the report is full."""


class Validation:
    """One run over one file. Go through `steps`, then look at `faults` and `plan`.

    The plan is appended to `plan_file` and neither synced nor renamed: publishing it, or
    throwing it away when there are faults, is the caller's. `served_models` None means that
    any model may be asked for. Whatever reading or writing raises (`OSError`) goes through.
    """

    def __init__(
        self,
        input: ReadFile,
        plan_file: AppendFile,
        rules: LineRules,
        served_models: frozenset[str] | None = None,
        tuning: Tuning = Tuning(),
    ) -> None:
        self.faults: list[Fault] = []
        """Sorted by line, `FAULTS_MAX` at most; those of the whole file come first."""
        self.plan: ValidatedPlan | None = None
        """Set when `steps` is exhausted and there is no fault."""
        self.observer: LineObserver | None = None
        self.lines_filled = 0
        """Lines that are not blank; all of the file's once `read_to_end`."""
        self.read_to_end = False
        self._input = input
        self._plan_file = plan_file
        self._rules = rules
        self._served_models = served_models
        self._tuning = tuning
        self._size = input.size()
        self._checker = LineChecker(rules)
        self._cutter = ShardCutter()
        self._shards: list[ShardPlan] = []
        self._ids = IdDigests(tuning.id_digest)
        self._models: set[str] = set()
        self._url: str | None = None
        self._url_line = 0
        self._bytes_read = 0
        self._requests = 0
        self._lines = 0

    def steps(self) -> Iterator[ValidationProgress]:
        """Do the work in slices of a few milliseconds of CPU each."""
        digest = xxh3_128()
        reader = self._reader()
        try:
            for batch in reader.batches(digest):
                self._take(batch)
                yield ValidationProgress(batch.bytes_read, self._size, self._lines)
            yield from self._find_duplicates()
            self.read_to_end = True
        except _Enough:
            pass
        else:
            self._finish(digest.hexdigest())
        self.faults.sort(key=lambda fault: fault.line or 0)
        del self.faults[FAULTS_MAX:]

    def _reader(self) -> LineReader:
        return LineReader(self._input, self._rules.line_bytes_max, self._tuning.block_bytes)

    def _take(self, batch: LineBatch) -> None:
        """Check a batch of lines and plan the good ones."""
        self._expect_lines(len(batch.lines))
        alike = self._checker.check_alike(batch.lines) if self.observer is None else None
        if alike is None or alike.url is not self._url or not self._models.issuperset(alike.models):
            self._take_each(batch)
        else:
            self._take_alike(batch, alike)
        self._bytes_read = batch.bytes_read
        self._lines += len(batch.lines)
        self._limit_requests()

    def _take_alike(self, batch: LineBatch, lines: AlikeLines) -> None:
        """Plan lines whose model and url are nothing new. The hot path of validation."""
        sizes = list(map(len, batch.lines))
        records = map(
            RECORD.pack,
            accumulate([size + 1 for size in sizes], initial=batch.offset),
            sizes,
            lines.body_offsets,
            lines.body_bytes,
            count(self._lines + 1),
            repeat(lines.id_offset),
            [len(custom_id) + 2 for custom_id in lines.custom_ids],
        )
        if len(set(lines.models)) == 1:
            shards = self._cutter.add_all(lines.models[0], list(records), lines.body_bytes)
        else:
            added = map(self._cutter.add, lines.models, records, lines.body_bytes)
            shards = filter(None, added)
        for shard in shards:
            self._write(shard)
        self._count(lines.custom_ids)

    def _take_each(self, batch: LineBatch) -> None:
        check, add, pack, models = self._checker.check, self._cutter.add, RECORD.pack, self._models
        observe = self.observer
        custom_ids: list[bytes] = []
        offset = batch.offset
        for number, line in enumerate(batch.lines, self._lines + 1):
            checked = check(line, number) if line else None
            if isinstance(checked, CheckedLine):
                custom_ids.append(checked.custom_id)
                if observe is not None:
                    observe(number, line, checked)
                if checked.model not in models:
                    self._admit_model(line, checked.model, number)
                if checked.url is not self._url:
                    self._compare_url(line, checked.url, number)
                record = pack(
                    offset,
                    len(line),
                    checked.body_offset,
                    checked.body_bytes,
                    number,
                    checked.id_offset,
                    checked.id_bytes,
                )
                shard = add(checked.model, record, checked.body_bytes)
                if shard is not None:
                    self._write(shard)
            elif checked is not None:
                self.lines_filled += 1
                self._report_line(checked)
            offset += len(line) + 1
        self._count(custom_ids)

    def _count(self, custom_ids: list[bytes]) -> None:
        self._ids.add(custom_ids)
        self._requests += len(custom_ids)
        self.lines_filled += len(custom_ids)

    def _admit_model(self, line: bytes, model: str, number: int) -> None:
        """Called for the first line of a model, and for every line of one that is refused."""
        served, wanted = self._served_models, self._rules.model
        if wanted is not None and model != wanted:
            self._report(line_faults.other_model(line, model, wanted), number)
        elif served is not None and model not in served:
            self._report(line_faults.unknown_model(line, model, served), number)
        elif len(model) > MODEL_CHARACTERS_MAX or not model.isprintable():
            self._report(line_faults.unfit_model(line, model, MODEL_CHARACTERS_MAX), number)
        elif len(self._models) == MODELS_MAX:
            message = f"The file asks for more than {MODELS_MAX:,} models; split it by model."
            self._refuse_file(Fault(FaultCode.TOO_MANY_MODELS, message, param="body.model"))
        else:
            self._models.add(model)

    def _compare_url(self, line: bytes, url: str | None, number: int) -> None:
        if url is None:
            return
        if self._url is None:
            self._url, self._url_line = url, number
            return
        self._report(line_faults.other_url(line, url, self._url, self._url_line), number)

    def _expect_lines(self, lines: int) -> None:
        if self._lines + lines > LINES_MAX:
            message = f"The file has more than {LINES_MAX:,} lines; split it."
            self._refuse_file(Fault(FaultCode.TOO_MANY_LINES, message))

    def _limit_requests(self) -> None:
        most = self._rules.requests_max
        if most is not None and self._requests > most:
            message = f"The file has more than {most:,} requests; split it."
            self._refuse_file(Fault(FaultCode.TOO_MANY_TASKS, message))

    def _report_line(self, fault: Fault) -> None:
        """Report what the checker found; a first line that is faulty may tell of them all."""
        if not self.faults and not self._cutter.models:
            foreign = foreign_format(self._input.read_at(0, HEAD_BYTES))
            if foreign is not None:
                self._refuse_file(foreign)
        self._report(fault, fault.line)

    def _report(self, fault: Fault, line: int | None) -> None:
        self.faults.append(msgspec.structs.replace(fault, line=line))
        if len(self.faults) >= FAULTS_MAX:
            raise _Enough

    def _refuse_file(self, fault: Fault) -> None:
        self.faults.append(fault)
        raise _Enough

    def _write(self, shard: CutShard) -> None:
        if not self.faults:
            self._plan_file.append([shard.records])
            self._shards.append(shard.plan)

    def _find_duplicates(self) -> Iterator[ValidationProgress]:
        suspects: set[int] = set()
        buckets_per_step = 1 + _IDS_PER_STEP * BUCKETS // max(1, self._lines)
        for number, repeated in enumerate(self._ids.repeated(), 1):
            suspects |= repeated
            if len(suspects) > _SUSPECTS_MAX:
                break
            if number % buckets_per_step == 0:
                yield ValidationProgress(self._size, self._size, self._lines)
        if suspects:
            yield from self._compare_ids(suspects)

    def _compare_ids(self, suspects: set[int]) -> Iterator[ValidationProgress]:
        """Read the file again; equal digests are only a hint, the ids themselves decide."""
        digest_of = self._ids.digest
        first_use: dict[bytes, int] = {}
        lines = 0
        for batch in self._reader().batches():
            for number, line in enumerate(batch.lines, lines + 1):
                checked = self._checker.check(line, number)
                if isinstance(checked, CheckedLine) and digest_of(checked.custom_id) in suspects:
                    first = first_use.setdefault(checked.custom_id, number)
                    if first != number:
                        self._report_duplicate(line, checked, number, first)
            lines += len(batch.lines)
            yield ValidationProgress(self._size, self._size, self._lines)

    def _report_duplicate(self, line: bytes, checked: CheckedLine, number: int, first: int) -> None:
        place = (checked.id_offset, checked.id_offset + checked.id_bytes)
        self._report(line_faults.duplicate(line, checked.custom_id, place, first), number)

    def _finish(self, input_digest: str) -> None:
        if not self._requests and not self.faults:
            self._refuse_empty()
        for shard in self._cutter.finish():
            self._write(shard)
        if self.faults:
            return
        self.plan = ValidatedPlan(
            shards=self._shards,
            total=self._requests,
            models=sorted(self._models),
            input_digest=input_digest,
            bytes_read=self._bytes_read,
            body_bytes=sum(shard.body_bytes for shard in self._shards),
            url=self._url,
        )

    def _refuse_empty(self) -> None:
        message = "The file holds no requests; give one JSON object per line."
        self.faults.append(Fault(FaultCode.EMPTY_FILE, message))
