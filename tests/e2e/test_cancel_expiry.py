"""Jobs that do not go straight through: cancelled, expired, waiting, failing, side by side."""

import os
import signal
import urllib.error
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.batches import BatchClient, input_file, input_line, numbered
from support.polling import wait_for
from support.ports import free_port
from support.service import running_service
from support.sim import SimProcess, running_sim

IDS = numbered(2_000)


@pytest.fixture(scope="module")
def sim() -> Iterator[SimProcess]:
    with running_sim() as engine:
        yield engine


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, sim: SimProcess) -> Iterator[BatchClient]:
    """Of a service with ordinary settings, for the tests that need no others."""
    with running_service(tmp_path_factory.mktemp("service"), sim.base_url) as service:
        yield service.client


def reach(client: BatchClient, job: str, finished: int) -> None:
    wait_for(lambda: client.finished(job) >= finished, what=f"{finished} requests done")


def test_cancelled_in_progress(tmp_path: Path) -> None:
    """What is finished is kept; the rest says why it is not."""
    with (
        running_sim("--latency-ms", "20") as sim,
        running_service(tmp_path, sim.base_url, "--max-in-flight", "8") as service,
    ):
        client = service.client
        job = client.submit(input_file(IDS))
        reach(client, job, 50)
        assert client.cancel(job)["status"] == "cancelling"
        assert client.cancel(job)["status"] in {"cancelling", "cancelled"}
        results = client.results(job)
        results.assert_whole(IDS)
        assert results.batch["status"] == "cancelled"
        assert len(results.output) >= 50
        assert results.codes() == {"batch_cancelled": len(results.errors)}
        # What was sent was waited for: nothing that was answered is thrown away.
        assert sim.stats()["requests"] == len(results.output)


def test_cancelled_too_late(client: BatchClient) -> None:
    job = completed(client)
    with pytest.raises(urllib.error.HTTPError) as refused:
        client.cancel(job)
    assert refused.value.code == 409
    assert refused.value.headers["x-should-retry"] == "false"
    refused.value.close()
    assert client.get(job)["status"] == "completed"


def completed(client: BatchClient) -> str:
    job = client.submit(input_file(["one"]))
    client.wait_for_status(job, "completed")
    return job


def test_cancelled_while_the_engine_is_slow(tmp_path: Path) -> None:
    """What does not end within the grace is aborted."""
    with (
        running_sim("--latency-ms", "60000") as sim,
        running_service(tmp_path, sim.base_url, cancel_grace_seconds=0.5) as service,
    ):
        ids = numbered(100)
        job = service.client.submit(input_file(ids))
        wait_for(lambda: sim.stats()["in_flight"] == len(ids), what="the sending")
        service.client.cancel(job)
        results = service.client.results(job, seconds=10)
        results.assert_whole(ids)
        assert results.codes() == {"batch_cancelled": len(ids)}
        assert results.batch["output_file_id"] is None
        wait_for(lambda: sim.stats()["in_flight"] == 0, what="the end of what was aborted")


@pytest.mark.parametrize("begun", [False, True])
def test_cancelled_while_validating(tmp_path: Path, begun: bool) -> None:
    """It ends at once and without results, whether the clerk had begun or not."""
    with running_sim() as sim, running_service(tmp_path, sim.base_url) as service:
        client, clerk = service.client, service.pid_of("clerk")
        content = input_file(IDS, padding=5_000)
        os.kill(clerk, signal.SIGSTOP)
        job = client.submit(content)
        folder = tmp_path / "jobs" / job
        if begun:
            os.kill(clerk, signal.SIGCONT)
            while not any(folder.glob("plan*.draft")):
                assert client.get(job)["status"] == "validating"
            os.kill(clerk, signal.SIGSTOP)
        batch = client.cancel(job)
        os.kill(clerk, signal.SIGCONT)
        assert batch["status"] == "cancelled"
        assert client.get(completed(client))["status"] == "completed"
        batch = client.get(job)
        assert (batch["status"], batch["request_counts"]["total"]) == ("cancelled", 0)
        assert (batch["output_file_id"], batch["error_file_id"]) == (None, None)
        wait_for(lambda: not any(folder.glob("plan*")), what="the removal of the plan")
        assert sim.stats()["requests"] == 1


def test_expired(tmp_path: Path) -> None:
    with (
        running_sim("--latency-ms", "100") as sim,
        running_service(
            tmp_path, sim.base_url, "--max-in-flight", "8", completion_window_seconds=2
        ) as service,
    ):
        job = service.client.submit(input_file(IDS))
        results = service.client.results(job, seconds=10)
        results.assert_whole(IDS)
        assert results.batch["status"] == "expired"
        assert results.output
        assert results.codes() == {"batch_expired": len(results.errors)}
        assert sim.stats()["requests"] == len(results.output)


def test_expired_while_validating(tmp_path: Path) -> None:
    with (
        running_sim() as sim,
        running_service(tmp_path, sim.base_url, completion_window_seconds=1) as service,
    ):
        clerk = service.pid_of("clerk")
        os.kill(clerk, signal.SIGSTOP)
        job = service.client.submit(input_file(IDS))
        wait_for(lambda: service.client.get(job)["expires_at"] + 1 < now(tmp_path), what="the end")
        os.kill(clerk, signal.SIGCONT)
        batch = service.client.wait(job)
        assert batch["status"] == "expired"
        assert (batch["output_file_id"], batch["error_file_id"]) == (None, None)
        assert sim.stats()["requests"] == 0


def now(folder: Path) -> float:
    """The clock of the file system, which is the service's too."""
    probe = folder / "now"
    probe.touch()
    return probe.stat().st_mtime


def test_expired_without_an_upstream(tmp_path: Path) -> None:
    """Nobody was ever there to send to: every request has its line all the same."""
    upstream = f"http://127.0.0.1:{free_port()}/v1"
    ids = numbered(100)
    with running_service(tmp_path, upstream, completion_window_seconds=2) as service:
        results = service.client.results(service.client.submit(input_file(ids)), seconds=10)
        results.assert_whole(ids)
        assert results.batch["status"] == "expired"
        assert results.codes() == {"batch_expired": len(ids)}


def test_an_upstream_that_is_down_at_the_start(tmp_path: Path) -> None:
    port = free_port()
    upstream = f"http://127.0.0.1:{port}/v1"
    ids = numbered(100)
    with running_service(tmp_path, upstream) as service:
        job = service.client.submit(input_file(ids))
        why = wait_for(lambda: service.client.get(job)["waiting_for"], what="a reason to wait")
        assert why.startswith(f"waiting: upstream {upstream} refuses connections")
        assert service.client.get(job)["status"] in {"validating", "in_progress"}
        with running_sim(port=port):
            results = service.client.results(job)
        results.assert_whole(ids)
        assert results.errors == []
        assert results.batch["waiting_for"] is None


def test_a_small_job_beside_a_huge_one(tmp_path: Path) -> None:
    huge, small = numbered(20_000), numbered(200)
    with (
        running_sim("--latency-ms", "20") as sim,
        running_service(tmp_path, sim.base_url, "--max-in-flight", "16") as service,
    ):
        client = service.client
        first = client.submit(input_file(huge))
        reach(client, first, 500)
        second = client.submit(input_file(small))
        client.results(second, seconds=10).assert_whole(small)
        # Of 20,000 requests at 800 a second: it did not wait for much of them.
        assert client.finished(first) < len(huge) / 2
        client.cancel(first)
        client.results(first).assert_whole(huge)


def test_requests_that_fail(client: BatchClient, sim: SimProcess) -> None:
    """A refused request ends in the error file with the upstream's own answer."""
    good, bad = numbered(200), [f"bad{number}" for number in range(50)]
    ids = [custom_id for five in zip(*[iter(good)] * 4, bad, strict=True) for custom_id in five]
    content = b"".join(
        input_line(one, messages=[]) if one in bad else input_line(one) for one in ids
    )
    sent = sim.stats()["requests"]
    results = client.results(client.submit(content))
    results.assert_whole(ids)
    assert results.batch["status"] == "completed"
    assert [line["custom_id"] for line in results.errors] == bad
    statuses = Counter(line["response"]["status_code"] for line in results.errors)
    assert statuses == {400: len(bad)}
    # One answer of 400 is final: nobody asks again.
    assert sim.stats()["requests"] == sent + len(ids)


def test_an_engine_that_errs(tmp_path: Path) -> None:
    """Faults are retried as often as is set, and then told."""
    ids = numbered(500)
    with (
        running_sim("--error-rate", "0.2") as sim,
        running_service(
            tmp_path, sim.base_url, retry__attempts_max=2, retry__backoff_first_seconds=0.05
        ) as service,
    ):
        results = service.client.results(service.client.submit(input_file(ids)))
        results.assert_whole(ids)
        assert results.batch["status"] == "completed"
        assert sim.stats()["repeated"] == 0
        # Two attempts fail in one case of 25.
        assert 0 < len(results.errors) < 100
        assert {line["response"]["status_code"] for line in results.errors} <= {500, 503}


def test_every_request_fails(client: BatchClient) -> None:
    job = client.submit(b"".join(input_line(one, messages=[]) for one in IDS))
    results = client.results(job)
    results.assert_whole(IDS)
    assert results.batch["status"] == "completed"
    assert results.batch["output_file_id"] is None


def test_a_model_nobody_serves(client: BatchClient) -> None:
    """All upstreams have said what they have: the job ends before it begins."""
    completed(client)
    job = client.submit(input_file(["one"]) + input_file(["two"], model="sims"))
    batch = client.wait(job)
    assert batch["status"] == "failed"
    (fault,) = batch["errors"]["data"]
    assert (fault["code"], fault["line"]) == ("model_not_found", 2)
    assert "sim" in fault["message"]
    assert (batch["output_file_id"], batch["error_file_id"]) == (None, None)
