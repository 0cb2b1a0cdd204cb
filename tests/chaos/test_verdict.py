"""The checks are checked: each kind of broken promise is noticed."""

import json
import re
import tempfile
from pathlib import Path

import pytest

from chaos.frame import Outcome, Round, Scenario, Tally, play
from chaos.recorder import Recorder, Sending
from chaos.report import as_json, failure, rows_of, table
from chaos.user import Order
from chaos.verdict import LATE_SECONDS, Troubles, check_log, check_orders
from overnight.client.views import JobView

REQUESTS = 3


def history() -> tuple[Order, Recorder]:
    """A job of three requests, each sent and answered once, at 10 s."""
    order, recorder = Order("u", REQUESTS, "openai", "key"), Recorder(seed=1)
    lines = []
    for custom_id in order.ids:
        body = json.dumps({"id": custom_id}, separators=(",", ":"))
        recorder.sendings[f"Say {custom_id}."] = [Sending(10.0, 200, body.encode(), 10.1)]
        response = f'{{"status_code":200,"request_id":"r","body":{body}}}'
        lines.append(f'{{"custom_id":"{custom_id}","response":{response},"error":null}}\n')
    order.output = "".join(lines).encode()
    order.job = JobView("batch_1", "completed", total=REQUESTS, succeeded=REQUESTS, failed=0)
    return order, recorder


def broken(
    order: Order, recorder: Recorder, troubles: Troubles | None = None, tally: Tally | None = None
) -> str:
    with pytest.raises(AssertionError) as caught:
        check_orders([order], recorder, troubles or Troubles(), tally or Tally())
    return str(caught.value)


def test_what_is_whole_passes() -> None:
    order, recorder = history()
    tally = Tally()
    check_orders([order], recorder, Troubles(), tally)
    assert (tally.jobs, tally.requests, tally.sent_again) == (1, REQUESTS, 0)


def test_a_missing_line() -> None:
    order, recorder = history()
    order.output = order.output.split(b"\n", 1)[1]
    tally = Tally()
    assert "1 are missing" in broken(order, recorder, tally=tally)
    assert tally.missing == 1


def test_a_line_twice() -> None:
    order, recorder = history()
    order.output += order.output.split(b"\n", 1)[0] + b"\n"
    tally = Tally()
    assert "1 too many" in broken(order, recorder, tally=tally)
    assert tally.twice == 1


def test_a_torn_line() -> None:
    order, recorder = history()
    order.output = order.output[:-1]
    assert "a file ends with" in broken(order, recorder)


def test_a_reply_to_somebody_else() -> None:
    order, recorder = history()
    order.output = order.output.replace(b'{"id":"u 1"}', b'{"id":"u 2"}')
    assert "is none of the 1 replies" in broken(order, recorder)


def test_another_order() -> None:
    order, recorder = history()
    first, second, third = order.output.splitlines(keepends=True)
    order.output = second + first + third
    assert "not in the order of the input" in broken(order, recorder)


def test_wrong_counts() -> None:
    order, recorder = history()
    order.job = JobView("batch_1", "completed", total=REQUESTS, succeeded=2, failed=1)
    assert "counts (3, 2, 1)" in broken(order, recorder)


def test_an_error_that_nothing_explains() -> None:
    order, recorder = history()
    first, *others = order.output.splitlines(keepends=True)
    order.output = b"".join(others)
    order.errors = first.replace(b'"error":null', b'"error":{"code":"worker_lost"}')
    order.job = JobView("batch_1", "completed", total=REQUESTS, succeeded=2, failed=1)
    assert "worker_lost" in broken(order, recorder)


@pytest.mark.parametrize(
    ("troubles", "excused"),
    [
        ([], False),
        ([(10.1 + LATE_SECONDS + 0.5, 20.0)], False),  # It died long after the reply.
        ([(1.0, 9.0)], False),  # It had died before the request was sent.
        ([(10.2, 20.0)], True),
        ([(10.05, 10.06)], True),
    ],
)
def test_a_request_sent_again(troubles: list[tuple[float, float]], excused: bool) -> None:
    order, recorder = history()
    recorder.sendings["Say u 1."].append(Sending(15.0, 200, b"{}", 15.1))
    if excused:
        tally = Tally()
        check_orders([order], recorder, Troubles(troubles), tally)
        assert tally.sent_again == 1
    else:
        assert "sent again for no reason" in broken(order, recorder, Troubles(troubles))


def test_a_process_that_met_what_it_does_not_know(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    log.write_text("worker was killed\n")
    check_log(log)
    log.write_text("[critical ] died of an exception pid=1\n")
    with pytest.raises(AssertionError, match="died of an exception"):
        check_log(log)


def test_a_failing_round_tells_how_to_play_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where what is kept goes.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def fails(game: Round) -> None:
        game.log.write_text("the worker's last words\n")
        game.tally.faults["kill worker"] += 1
        raise AssertionError(f"chance said {game.chance.randrange(1000)}")

    first, second = (play(Scenario("breaks", fails, seconds=1), seed=4711) for _ in range(2))
    assert first.failure == second.failure, "the seed decides"
    told = failure(first)
    assert "chance said" in told
    assert "the worker's last words" in told
    assert "python -m tests.chaos --only breaks --seed 4711" in told
    rows = rows_of(["breaks"], [first, second])
    assert rows[0].verdict == "FAILED"
    assert max(map(len, table(rows, 1.0).splitlines())) <= 80
    assert as_json(rows, 1.0)["scenarios"][0]["faults"] == {"kill worker": 2}
    assert re.search(r"^all .*FAILED$", table(rows, 1.0), re.MULTILINE)


def test_a_round_that_can_not_be_played_here_is_no_failure() -> None:
    outcome = Outcome("needs root", 1, Tally(), not_here="no root")
    (row,) = rows_of(["needs root"], [outcome])
    assert row.verdict == "not here"
    assert "    no root" in table([row], 1.0)
