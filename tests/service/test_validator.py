"""A whole file through the validator: its faults, its plan, and nothing that depends on luck."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_128_hexdigest

from overnight.domain.plan import Record, records_checksum, unpack_records
from overnight.domain.request import FAULTS_MAX, Fault, LineRules
from overnight.seams import SystemDisk
from overnight.service.validator import MODELS_MAX, Tuning, ValidatedPlan, Validation

CHAT = "/v1/chat/completions"
LOOSE = LineRules(CHAT)
USUAL = Tuning()
BOM = b"\xef\xbb\xbf"


def line(custom_id: str, model: str = "m", **fields: Any) -> bytes:
    written = {
        "custom_id": custom_id,
        **fields,
        "body": {"model": model, "messages": [], "of": custom_id},
    }
    return json.dumps(written, ensure_ascii=False).encode()


def joined(*lines: bytes) -> bytes:
    return b"".join(each + b"\n" for each in lines)


class Bench:
    """Validates bytes through real files in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._disk = SystemDisk()
        self._input = folder / "input.jsonl"
        self._plan = folder / "plan"
        self.records: list[Record] = []
        self.packed = b""

    def run(
        self,
        data: bytes,
        rules: LineRules = LOOSE,
        served: frozenset[str] | None = None,
        tuning: Tuning = USUAL,
    ) -> Validation:
        self._input.write_bytes(data)
        self._plan.unlink(missing_ok=True)
        source, target = self._disk.open(self._input), self._disk.create(self._plan)
        try:
            validation = Validation(source, target, rules, served, tuning)
            for _ in validation.steps():
                pass
        finally:
            source.close()
            target.close()
        self.packed = self._plan.read_bytes()
        self.records = list(unpack_records(self.packed))
        return validation

    def accepted(self, data: bytes, *options: Any) -> ValidatedPlan:
        validation = self.run(data, *options)
        assert validation.faults == []
        assert validation.plan is not None
        return validation.plan

    def refused(self, data: bytes, *options: Any) -> list[Fault]:
        validation = self.run(data, *options)
        assert validation.plan is None
        assert validation.faults
        return validation.faults


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("validation"))


def found(data: bytes, record: Record) -> tuple[Any, Any]:
    """The id and the body a record points at."""
    written = data[record.line_offset : record.line_offset + record.line_bytes]
    token = written[record.id_offset : record.id_offset + record.id_bytes]
    body = written[record.body_offset : record.body_offset + record.body_bytes]
    return json.loads(token), json.loads(body)


@pytest.mark.parametrize(
    ("data", "numbers"),
    [
        (joined(line("a"), line("b")), [1, 2]),
        (joined(line("a"), line("b"))[:-1], [1, 2]),
        (joined(line("a"), line("b")).replace(b"\n", b"\r\n"), [1, 2]),
        (BOM + joined(line("a"), line("b")), [1, 2]),
        (b"\n \n" + joined(line("a"), b"\t\r", line("b"), b""), [3, 5]),
        (joined(line("a\u2028\u2029\u0085"), line("b")), [1, 2]),
        (joined(line("a"), line("b", url=CHAT, method="POST")), [1, 2]),
    ],
    ids=["plain", "no last newline", "CRLF", "BOM", "blank lines", "U+2028", "both forms"],
)
@pytest.mark.parametrize("block_bytes", [1, 7, 64, 1_000_000])
def test_a_file_may_be_written_in_any_way(
    bench: Bench, data: bytes, numbers: list[int], block_bytes: int
) -> None:
    plan = bench.accepted(data, LOOSE, None, Tuning(block_bytes))
    assert [record.line_number for record in bench.records] == numbers
    for record in bench.records:
        custom_id, body = found(data, record)
        assert body["of"] == custom_id
    assert (plan.total, plan.model, plan.bytes_read) == (2, "m", len(data))
    assert plan.input_digest == xxh3_128_hexdigest(data)


def test_the_plan_sums_up_the_file(bench: Bench) -> None:
    lines = [line(f"{number}", "ab"[number % 2], url=CHAT) for number in range(2_500)]
    plan = bench.accepted(joined(*lines))
    assert (plan.total, plan.models, plan.model, plan.url) == (2_500, ["a", "b"], None, CHAT)
    assert [shard.requests for shard in plan.shards] == [1_000, 1_000, 250, 250]
    assert plan.body_bytes == sum(record.body_bytes for record in bench.records)
    for shard in plan.shards:
        first = 32 * shard.first_record
        assert shard.checksum == records_checksum(bench.packed[first : first + 32 * shard.requests])


LINES = st.one_of(
    st.builds(line, st.text(max_size=12), st.sampled_from(["m", "n", "ü", ""])),
    st.sampled_from([b"", b"\r", b" ", b"{}", b"[", b"\xff", b"x" * 90, line("a"), line("b")]),
    st.binary(max_size=30).filter(lambda data: b"\n" not in data),
)
FILES = st.builds(
    lambda start, lines, end: start + b"\n".join(lines) + end,
    st.sampled_from([b"", BOM]),
    st.lists(LINES, max_size=12),
    st.sampled_from([b"", b"\n"]),
)


@settings(deadline=None)
@given(
    data=FILES, block_bytes=st.integers(1, 200), line_bytes_max=st.sampled_from([40, 80, 10_000])
)
def test_where_blocks_end_changes_nothing(
    bench: Bench, data: bytes, block_bytes: int, line_bytes_max: int
) -> None:
    rules = LineRules(CHAT, line_bytes_max=line_bytes_max)
    whole = bench.run(data, rules)
    records = bench.records
    pieces = bench.run(data, rules, None, Tuning(block_bytes))
    assert [_place(fault) for fault in pieces.faults] == [_place(fault) for fault in whole.faults]
    assert pieces.plan == whole.plan
    if whole.plan is not None:
        assert bench.records == records


def _place(fault: Fault) -> tuple[int | None, str, str | None]:
    return fault.line, fault.code, fault.param


@settings(deadline=None)
@given(data=st.binary(max_size=300), block_bytes=st.integers(1, 50))
def test_garbage_is_refused_and_never_raises(bench: Bench, data: bytes, block_bytes: int) -> None:
    assert bench.refused(data, LOOSE, None, Tuning(block_bytes))


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n \n", BOM, BOM + b"\n"])
def test_a_file_without_requests_is_refused_as_a_whole(bench: Bench, data: bytes) -> None:
    (fault,) = bench.refused(data)
    assert (fault.code, fault.line) == ("empty_file", None)


@pytest.mark.parametrize("block_bytes", [1, 50, 100, 1_000, 100_000])
@pytest.mark.parametrize("long_bytes", [101, 150, 5_000])
def test_after_a_line_over_the_limit_reading_goes_on(
    bench: Bench, block_bytes: int, long_bytes: int
) -> None:
    data = joined(line("a"), b"x" * long_bytes, line("b"), b"y" * long_bytes, b"nonsense")
    rules = LineRules(CHAT, line_bytes_max=100)
    faults = bench.refused(data, rules, None, Tuning(block_bytes))
    assert [(fault.line, fault.code) for fault in faults] == [
        (2, "line_too_long"),
        (4, "line_too_long"),
        (5, "invalid_json_line"),
    ]


@pytest.mark.parametrize(("fault_first", "expected"), [(True, [1, 4]), (False, [3])])
def test_faults_come_in_the_order_of_lines(
    bench: Bench, fault_first: bool, expected: list[int]
) -> None:
    lines = [line("a"), line("b"), line("a")]
    faults = bench.refused(joined(*[b"{}"] * fault_first, *lines))
    assert [fault.line for fault in faults] == expected


def test_a_full_report_ends_the_reading(bench: Bench) -> None:
    faults = bench.refused(joined(*[b"{nonsense"] * (FAULTS_MAX + 500)))
    assert [fault.line for fault in faults] == list(range(1, FAULTS_MAX + 1))


def test_a_file_of_another_kind_is_one_fault(bench: Bench) -> None:
    validation = bench.run(joined(*[b'{"messages": []}'] * (FAULTS_MAX + 500)))
    assert [(fault.code, fault.line) for fault in validation.faults] == [("not_requests", None)]
    assert not validation.read_to_end


def test_after_a_good_line_every_line_is_judged_by_itself(bench: Bench) -> None:
    validation = bench.run(joined(b"", line("a"), *[b'{"messages": []}'] * 20))
    assert [fault.line for fault in validation.faults] == list(range(3, 23))
    assert (validation.read_to_end, validation.lines_filled) == (True, 21)


def test_faults_of_the_whole_file_mark_their_text_in_the_line(bench: Bench) -> None:
    lines = [line("a", "x", url=CHAT), line("b", "x"), line("a", "other"), line("a", "x")]
    validation = bench.run(joined(*lines), LineRules(None), frozenset({"x"}))
    marked = [
        (fault.code, (fault.excerpt or "")[slice(*(fault.marked or (0, 0)))])
        for fault in validation.faults
    ]
    assert marked == [
        ("model_not_found", '"other"'),
        ("duplicate_custom_id", '"a"'),
        ("duplicate_custom_id", '"a"'),
    ]


def one_digest(custom_id: bytes) -> int:
    return 5


def last_digit(custom_id: bytes) -> int:
    return custom_id[-1]


@pytest.mark.parametrize("tuning", [Tuning(), Tuning(id_digest=one_digest), Tuning(13, last_digit)])
def test_equal_ids_are_found_and_equal_digests_are_not_enough(bench: Bench, tuning: Tuning) -> None:
    ids = ["1", "11", "21", "b", "1", "é", "11", "1"]
    faults = bench.refused(joined(*map(line, ids)), LOOSE, None, tuning)
    assert [(fault.line, fault.code, fault.param) for fault in faults] == [
        (number, "duplicate_custom_id", "custom_id") for number in (5, 7, 8)
    ]
    assert faults[1].message == ("custom_id '11' is already used on line 2; each must be unique.")
    bench.accepted(joined(*map(line, ["1", "11", "21"])), LOOSE, None, tuning)


def test_ids_are_compared_by_value_and_not_by_spelling(bench: Bench) -> None:
    spelt = line("é"), line("é").replace("é".encode(), b"\\u00e9", 1)
    (fault,) = bench.refused(joined(*spelt))
    assert fault.code == "duplicate_custom_id"


def test_duplicates_without_end_fill_one_report(bench: Bench) -> None:
    data = joined(*(line(f"{number % 3_000}") for number in range(9_000)))
    faults = bench.refused(data)
    assert len(faults) == FAULTS_MAX
    assert {fault.code for fault in faults} == {"duplicate_custom_id"}
    assert [fault.line for fault in faults] == sorted(fault.line or 0 for fault in faults)


def test_a_limit_on_requests_is_told_without_reading_on(bench: Bench) -> None:
    data = joined(line("a"), b"", line("b"))
    bench.accepted(data, LineRules(CHAT, requests_max=2))
    (fault,) = bench.refused(data, LineRules(CHAT, requests_max=1))
    assert (fault.code, fault.line) == ("too_many_tasks", None)


def test_models_have_a_limit(bench: Bench) -> None:
    lines = [line(f"{number}", f"model-{number}") for number in range(MODELS_MAX + 1)]
    bench.accepted(joined(*lines[:-1]))
    (fault,) = bench.refused(joined(*lines))
    assert (fault.code, fault.param) == ("too_many_models", "body.model")


def test_a_model_nobody_serves_is_refused_on_each_line(bench: Bench) -> None:
    data = joined(line("a", "x"), line("b", "served"), line("c", "x"))
    faults = bench.refused(data, LOOSE, frozenset({"served", "other"}))
    assert [(fault.line, fault.code) for fault in faults] == [
        (1, "model_not_found"),
        (3, "model_not_found"),
    ]
    assert faults[0].message == "The model 'x' is not served; there are: other, served."


def test_a_job_for_one_model_refuses_lines_of_others(bench: Bench) -> None:
    rules = LineRules(CHAT, model="wanted")
    bench.accepted(joined(line("a", "wanted"), line("b", "wanted")), rules)
    data = joined(line("a", "x"), line("b", "wanted"), line("c", "x"))
    faults = bench.refused(data, rules, frozenset({"wanted"}))
    assert [(fault.line, fault.code, fault.param) for fault in faults] == [
        (1, "mismatched_model", "body.model"),
        (3, "mismatched_model", "body.model"),
    ]
    assert "'x'" in faults[0].message
    assert "'wanted'" in faults[0].message


@pytest.mark.parametrize("model", ["x" * 513, "a\u0000b", "a\nb"])
def test_a_model_must_be_a_name(bench: Bench, model: str) -> None:
    (fault,) = bench.refused(joined(line("a", model)))
    assert (fault.code, fault.param) == ("invalid_request", "body.model")


def test_without_an_endpoint_all_lines_must_agree_on_one(bench: Bench) -> None:
    rules = LineRules(None)
    agreed = [line("a"), line("b", url="/v1/embeddings"), line("c", url="/v1/embeddings")]
    assert bench.accepted(joined(*agreed), rules).url == "/v1/embeddings"
    (fault,) = bench.refused(joined(*agreed, line("d", url=CHAT)), rules)
    assert (fault.code, fault.line) == ("invalid_url", 4)
    assert "line 2 has '/v1/embeddings'" in fault.message


def test_progress_never_falls_and_ends_with_the_whole_file(tmp_path: Path) -> None:
    data = joined(*(line(f"{number % 90}") for number in range(100)))
    (tmp_path / "input").write_bytes(data)
    disk = SystemDisk()
    source, target = disk.open(tmp_path / "input"), disk.create(tmp_path / "plan")
    validation = Validation(source, target, LOOSE, tuning=Tuning(block_bytes=100))
    steps = list(validation.steps())
    source.close()
    target.close()
    assert steps == sorted(steps)
    assert steps[-1] == (len(data), len(data), 100)
    assert len(validation.faults) == 10
