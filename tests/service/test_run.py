"""`overnight run` as a function: files in, files out, and a start after any end."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from overnight.dispatch.dispatcher import DispatchOptions
from overnight.dispatch.lane import LaneOptions
from overnight.dispatch.target import Target
from overnight.domain.errors import ConfigurationError, Corrupt
from overnight.domain.request import LineRules
from overnight.domain.retry import RetryPolicy
from overnight.seams import Disk, Seams
from overnight.service.run import LocalRun, RunOptions, RunProgress, RunResult
from overnight.sim import SimEngine, SimOptions
from support.dispatch_world import EvenChance
from support.fake_network import FakeNetwork, FakeUpstream, Respond
from support.memory_disk import Died, MemoryDisk
from support.virtual_time import InlineThreads, VirtualClock, run_virtual

CHAT = "/v1/chat/completions"
COUNT = 300


def write_input(path: Path, count: int = COUNT, model: str = "sim") -> None:
    messages = [[{"role": "user", "content": f"{number}?"}] for number in range(1, count + 1)]
    path.write_bytes(input_lines([{"model": model, "messages": each} for each in messages]))


def input_lines(bodies: list[dict[str, Any]]) -> bytes:
    """Custom ids are c1, c2, …"""
    lines = [{"custom_id": f"c{n}", "body": body} for n, body in enumerate(bodies, 1)]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def options(folder: Path, url: str, **changes: Any) -> RunOptions:
    given = RunOptions(
        input=folder / "in.jsonl",
        output=folder / "out.jsonl",
        errors=folder / "out.errors.jsonl",
        endpoint=CHAT,
        rules=LineRules(CHAT),
        upstreams=(LaneOptions(Target.parse(url), 16),),
        dispatch=DispatchOptions(),
    )
    return replace(given, **changes)


Look = Callable[[RunProgress], None]


def run(
    folder: Path,
    engine: SimEngine | None = None,
    look: Look = lambda _: None,
    **changes: Any,
) -> RunResult:
    """Run against a simulated engine that lives as long as the run."""

    async def main() -> RunResult:
        serving = engine or SimEngine()
        port = await serving.start()
        try:
            async with asyncio.timeout(60):
                given = options(folder, f"http://127.0.0.1:{port}/v1", **changes)
                return await LocalRun(given, Seams(), look).run()
        finally:
            await serving.stop()

    return asyncio.run(main())


def cut_short(folder: Path, engine: SimEngine, **changes: Any) -> None:
    """Run until a third has its outcome, then end as Ctrl-C does."""

    def look(progress: RunProgress) -> None:
        if progress.stage == "sending" and progress.done > COUNT // 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run(folder, engine, look, **changes)


def ids(path: Path) -> list[str]:
    return [json.loads(line)["custom_id"] for line in path.read_bytes().splitlines()]


EVERYTHING = [f"c{number}" for number in range(1, COUNT + 1)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_input(tmp_path / "in.jsonl")
    return tmp_path


# From beginning to end


def test_a_file_in_gives_a_file_out_in_its_order_and_nothing_else(folder: Path) -> None:
    seen: list[str] = []
    result = run(folder, look=lambda progress: seen.append(progress.stage))
    assert (result.total, result.counts.succeeded, result.counts.failed) == (COUNT, COUNT, 0)
    assert ids(folder / "out.jsonl") == EVERYTHING
    assert sorted(path.name for path in folder.iterdir()) == ["in.jsonl", "out.jsonl"]
    assert list(dict.fromkeys(seen)) == ["validating", "sending", "writing"]


def test_failures_go_to_a_file_of_their_own_in_a_folder_that_is_made(folder: Path) -> None:
    lines = (folder / "in.jsonl").read_bytes().splitlines(keepends=True)
    lines[1] = b'{"custom_id":"bad","body":{"model":"sim","messages":[]}}\n'
    (folder / "in.jsonl").write_bytes(b"".join(lines))
    errors = folder / "not" / "yet" / "there.jsonl"
    result = run(folder, errors=errors)
    assert (result.counts.succeeded, result.counts.failed) == (COUNT - 1, 1)
    assert ids(errors) == ["bad"]


def test_a_refused_input_leaves_nothing_behind(folder: Path) -> None:
    (folder / "in.jsonl").write_bytes(b"{nonsense\n")
    engine = SimEngine()
    result = run(folder, engine)
    assert [fault.line for fault in result.faults] == [1]
    assert [path.name for path in folder.iterdir()] == ["in.jsonl"]
    assert engine.stats()["requests"] == 0


def test_a_model_that_nobody_lists_is_refused_by_name(folder: Path) -> None:
    write_input(folder / "in.jsonl", 3, model="gpt-nothing")
    [fault] = run(folder).faults
    assert (fault.code, fault.param) == ("model_not_found", "body.model")
    assert "'gpt-nothing'; there are: sim" in fault.message
    assert [path.name for path in folder.iterdir()] == ["in.jsonl"]


# Again


def test_after_a_cut_the_same_command_goes_on(folder: Path) -> None:
    engine = SimEngine(SimOptions(latency_ms=(5, 20)))
    cut_short(folder, engine)
    assert not (folder / "out.jsonl").exists()
    result = run(folder, engine)
    assert result.resumed > COUNT // 3
    assert result.counts.succeeded == COUNT
    assert ids(folder / "out.jsonl") == EVERYTHING
    assert engine.stats()["repeated"] == 0
    assert not (folder / "out.jsonl.overnight").exists()


def test_what_an_earlier_run_did_is_told_before_anything_is_sent(folder: Path) -> None:
    engine = SimEngine(SimOptions(latency_ms=(5, 20)))
    cut_short(folder, engine)
    sending: list[RunProgress] = []

    def look(progress: RunProgress) -> None:
        if progress.stage == "sending":
            sending.append(progress)

    result = run(folder, engine, look)
    first, last = sending[0], sending[-1]
    assert first.done == result.resumed > COUNT // 3
    assert 0 < first.counts.tokens < last.counts.tokens
    assert [each.done for each in sending] == sorted(each.done for each in sending)
    assert last.counts == result.counts


def test_retries_of_all_starts_are_counted(folder: Path) -> None:
    engine = SimEngine(SimOptions(latency_ms=(5, 20), error_rate=0.05))
    retry = DispatchOptions(RetryPolicy(backoff_first_seconds=0.01))
    cut_short(folder, engine, dispatch=retry)
    result = run(folder, engine, dispatch=retry)
    # What was in flight when it was cut short was sent again as well.
    assert 0 < result.counts.retries <= engine.stats()["requests"] - COUNT


def test_when_only_the_files_are_missing_no_upstream_is_needed(folder: Path) -> None:
    def look(progress: RunProgress) -> None:
        if progress.stage == "writing":
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run(folder, look=look)

    async def main() -> RunResult:
        given = options(folder, "http://127.0.0.1:1/v1")
        async with asyncio.timeout(20):
            return await LocalRun(given, Seams(), lambda _: None).run()

    result = asyncio.run(main())
    assert (result.resumed, result.counts.succeeded) == (COUNT, COUNT)
    assert ids(folder / "out.jsonl") == EVERYTHING


def test_a_changed_input_is_not_resumed(folder: Path) -> None:
    engine = SimEngine(SimOptions(latency_ms=(5, 20)))
    cut_short(folder, engine)
    before = (folder / "in.jsonl").read_bytes()
    (folder / "in.jsonl").write_bytes(before.replace(b"1?", b"2?"))
    with pytest.raises(ConfigurationError, match=r"in\.jsonl is not the file"):
        run(folder, engine)
    (folder / "in.jsonl").write_bytes(before)
    assert run(folder, engine).counts.succeeded == COUNT


def test_another_endpoint_is_not_resumed(folder: Path) -> None:
    engine = SimEngine(SimOptions(latency_ms=(5, 20)))
    cut_short(folder, engine)
    other = "/v1/completions"
    with pytest.raises(ConfigurationError, match=f"{CHAT}, not {other}"):
        run(folder, engine, endpoint=other, rules=LineRules(other))


def test_fresh_discards_what_an_earlier_run_did(folder: Path) -> None:
    engine = SimEngine(SimOptions(latency_ms=(5, 20)))
    cut_short(folder, engine)
    write_input(folder / "in.jsonl", 5)
    result = run(folder, fresh=True)
    assert (result.resumed, result.counts.succeeded) == (0, 5)


def test_a_state_that_can_not_be_read_is_said_to_be(folder: Path) -> None:
    state = folder / "out.jsonl.overnight"
    state.mkdir()
    (state / "run.json").write_bytes(b"\x00")
    with pytest.raises(Corrupt, match="--fresh"):
        run(folder)
    assert run(folder, fresh=True).counts.succeeded == COUNT


# Files in the way


def test_a_finished_run_says_so_and_sends_nothing(folder: Path) -> None:
    run(folder)
    engine = SimEngine()
    assert run(folder, engine) == RunResult(already=True)
    assert engine.stats()["requests"] == 0


def test_so_does_one_whose_every_request_failed(folder: Path) -> None:
    (folder / "in.jsonl").write_bytes(b'{"custom_id":"bad","body":{"model":"sim","messages":[]}}\n')
    assert run(folder).counts.failed == 1
    assert run(folder).already


def test_a_finished_run_of_another_input_is_in_the_way(folder: Path) -> None:
    run(folder)
    write_input(folder / "in.jsonl", 5)
    with pytest.raises(ConfigurationError, match="--overwrite"):
        run(folder)
    assert run(folder, overwrite=True).counts.succeeded == 5
    assert ids(folder / "out.jsonl") == EVERYTHING[:5]


@pytest.mark.parametrize("name", ["out.jsonl", "out.errors.jsonl"])
@pytest.mark.parametrize("content", [b"", b"mine\n"])
def test_a_file_that_is_not_ours_is_neither_touched_nor_taken_for_ours(
    folder: Path, name: str, content: bytes
) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=name):
        run(folder)
    assert (folder / name).read_bytes() == content
    assert run(folder, overwrite=True).counts.succeeded == COUNT
    assert ids(folder / "out.jsonl") == EVERYTHING
    assert not (folder / "out.errors.jsonl").exists()


def test_a_file_put_in_the_way_since_is_not_overwritten_by_resuming(folder: Path) -> None:
    engine = SimEngine(SimOptions(latency_ms=(5, 20)))
    cut_short(folder, engine)
    (folder / "out.jsonl").write_bytes(b"mine\n")
    with pytest.raises(ConfigurationError, match="--overwrite"):
        run(folder, engine)
    assert (folder / "out.jsonl").read_bytes() == b"mine\n"


def test_the_errors_of_a_finished_run_do_not_vouch_for_another_output(folder: Path) -> None:
    (folder / "in.jsonl").write_bytes(b'{"custom_id":"bad","body":{"model":"sim","messages":[]}}\n')
    run(folder)
    (folder / "out.jsonl").write_bytes(b"mine\n")
    with pytest.raises(ConfigurationError, match=r"out\.jsonl exists"):
        run(folder)


def test_the_input_is_never_written_to(folder: Path) -> None:
    for changes in ({"output": folder / "in.jsonl"}, {"errors": folder / "in.jsonl"}):
        with pytest.raises(ConfigurationError, match="different"):
            run(folder, overwrite=True, **changes)  # type: ignore[arg-type]


# Killed at any moment


def start(disk: Disk, network: FakeNetwork, folder: Path = Path("run")) -> Callable[[], RunResult]:
    async def main() -> RunResult:
        seams = Seams(VirtualClock(), EvenChance(), network.connect, disk, InlineThreads)
        return await LocalRun(options(folder, "http://gpu/v1"), seams, lambda _: None).run()

    return lambda: run_virtual(main())


def killed_world(count: int) -> tuple[MemoryDisk, FakeNetwork, FakeUpstream]:
    disk, network = MemoryDisk(), FakeNetwork()
    disk.files[Path("run/in.jsonl")] = bytearray(
        input_lines([{"model": "m", "messages": [], "n": number} for number in range(1, count + 1)])
    )
    engine = network.upstream(
        "gpu", lambda sent: Respond(400 if sent.number % 5 == 0 else 200, after_seconds=0.03)
    )
    return disk, network, engine


@pytest.mark.parametrize("torn", [False, True])
def test_killed_at_any_write_nothing_is_lost_and_nothing_twice(*, torn: bool) -> None:
    count, kills = 60, 0
    for writes in range(1_000):
        disk, network, engine = killed_world(count)
        disk.torn = torn
        disk.writes_left = writes
        with suppress(Died):
            start(disk, network)()
            disk.writes_left = None
        if disk.writes_left is None:
            break
        kills += 1
        disk.writes_left = None
        result = start(disk, network)()
        lines = [
            json.loads(line)
            for name in ("out.jsonl", "out.errors.jsonl")
            for line in bytes(disk.files[Path("run") / name]).splitlines()
        ]
        assert Counter(line["custom_id"] for line in lines) == {
            f"c{number}": 1 for number in range(1, count + 1)
        }
        assert result.already or result.counts.failed == count // 5
        assert sorted(path.name for path in disk.files) == [
            "in.jsonl", "out.errors.jsonl", "out.jsonl",
        ]  # fmt: skip
        assert len(engine.received) <= count + 16 * 2
    assert kills > 15
