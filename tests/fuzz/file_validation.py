"""The validator over whole files, against the plain reference: it accepts what that accepts, and
then its plan points at the very ids and bodies; and where blocks end makes no difference."""

import json
from pathlib import Path
from typing import Final

from fuzz.file_reference import CONTENT, Doubtful, Request, requests_of
from fuzz.target import Target
from overnight.domain.line import ENDPOINTS
from overnight.domain.plan import Record, unpack_records
from overnight.domain.request import Fault, LineRules
from overnight.service.validator import Tuning, Validation
from support.memory_disk import MemoryDisk

RULES: Final = (
    LineRules("/v1/chat/completions"),
    LineRules("/v1/chat/completions", routed=True),
    LineRules("/v1/embeddings"),
    LineRules("/v1/completions", line_bytes_max=120, custom_id_bytes_max=8),
    LineRules(None),
)
"""A routed one names an endpoint, as everywhere it is used."""
STEPS_MORE_MAX: Final = 1_000
"""Looking for duplicates takes as many for a small file as for a large one."""
BLOCKS: Final = (1, 3, 16, 64, 1 << 18)


def check(data: bytes) -> None:
    if len(data) < 2:
        return
    rules, block_bytes, data = RULES[data[0] % len(RULES)], BLOCKS[data[1] % len(BLOCKS)], data[2:]
    whole, plan = _validated(data, rules, Tuning(1 << 18))
    cut, plan_of_cut = _validated(data, rules, Tuning(block_bytes, _colliding))
    assert cut.faults == whole.faults, f"{cut.faults}, not {whole.faults}"
    assert plan == plan_of_cut
    for fault in whole.faults:
        _judge(fault, data)
    try:
        requests = requests_of(data, rules)
    except Doubtful:
        return
    if requests is None:
        assert whole.plan is None, "a file is accepted that the reference refuses"
    else:
        assert not whole.faults, f"a file is refused that the reference accepts: {whole.faults}"
        _compare(data, whole, plan, requests)


def _colliding(custom_id: bytes) -> int:
    """A digest by which many ids are equal that are not."""
    return len(custom_id) % 2


def _validated(data: bytes, rules: LineRules, tuning: Tuning) -> tuple[Validation, bytes]:
    disk, source, target = MemoryDisk(), Path("input"), Path("plan")
    disk.files[source] = bytearray(data)
    validation = Validation(disk.open(source), disk.create(target), rules, None, tuning)
    steps = sum(1 for _ in validation.steps())
    assert steps <= 2 * len(data) + STEPS_MORE_MAX, "the validator goes round in circles"
    return validation, bytes(disk.files[target])


def _judge(fault: Fault, data: bytes) -> None:
    """Whatever is wrong, it is said where, and in words that can be shown."""
    assert fault.line is None or 1 <= fault.line <= data.count(b"\n") + 1
    assert fault.message
    fault.message.encode()
    (fault.excerpt or "").encode()
    if fault.marked is not None:
        start, end = fault.marked
        # What is missing at the end of a line is marked behind it.
        assert 0 <= start <= end <= len(fault.excerpt or "") + 1, fault


def _compare(data: bytes, done: Validation, packed: bytes, requests: list[Request]) -> None:
    plan = done.plan
    assert plan is not None
    assert plan.total == len(requests)
    assert plan.models == sorted({request.body["model"] for request in requests})
    records = list(unpack_records(packed))
    models = [shard.model for shard in plan.shards for _ in range(shard.requests)]
    by_number = {request.number: request for request in requests}
    for record, model in zip(records, models, strict=True):
        request = by_number.pop(record.line_number)
        assert model == request.body["model"]
        _compare_request(data, record, request)
    assert not by_number, "requests are not in the plan"


def _compare_request(data: bytes, record: Record, request: Request) -> None:
    line = data[record.line_offset : record.line_offset + record.line_bytes]
    assert line == request.line
    body = line[record.body_offset : record.body_offset + record.body_bytes]
    token = line[record.id_offset : record.id_offset + record.id_bytes]
    assert len(body) == record.body_bytes
    assert json.loads(token) == request.custom_id
    read = json.loads(body)
    assert read.keys() == request.body.keys()
    assert read["model"] == request.body["model"]


assert set(CONTENT) == set(ENDPOINTS)

TARGET: Final = Target(
    "file_validation",
    check,
    words=(
        b'{"custom_id": "a", "body": {"model": "m", "messages": []}}\n',
        b'{"custom_id": "b", "method": "POST", "url": "/v1/chat/completions", "body": ',
        b'"method": "POST", ',
        b'"url": "/v1/completions", ',
        b'"url": "/embeddings", ',
        b'"messages": [], ',
        b'"prompt": "", ',
        b'"prompt_embeds": 1, ',
        b'"input": null, ',
        b'"stream": true, ',
        b'"stream": false, ',
        b'"stream": 0, ',
        b'"model": "n", ',
        b'"model": "",',
        b'"custom_id": 1, ',
        b'"\\u0063ustom_id": "c", ',
        b"\\u00e9",
        b"\\ud83d\\ude00",
        b"\\ud800",
        b"\xc3\xa9",
        b"\xe2\x80\xa8",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"-0.5E-3",
        b"01",
        b"\r\n",
        b"\n\n",
        b"}}",
        b"[[[[",
        b"\x00",
        b"\x1f\x8b",
        b"\\",
    ),
    bytes_max=1_024,
)
