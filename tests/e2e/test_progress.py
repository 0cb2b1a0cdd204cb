"""What people watch while a job is at work: tokens and retries, in both dialects."""

import json
import urllib.request
from pathlib import Path

from support.batches import FINAL, Batch, input_file, numbered
from support.polling import wait_for
from support.service import running_service
from support.sim import running_sim

IDS = numbered(400)


def test_tokens_and_retries_grow_while_a_job_is_at_work(tmp_path: Path) -> None:
    """Against an engine that answers some requests with 500 or 503."""
    with (
        running_sim("--latency-ms", "50-100", "--error-rate", "0.05") as sim,
        running_service(tmp_path, sim.base_url, "--max-in-flight", "8") as service,
    ):
        client = service.client
        job = client.submit(input_file(IDS))
        seen: list[Batch] = []

        def ended() -> bool:
            seen.append(client.get(job))
            return seen[-1]["status"] in FINAL

        wait_for(ended, seconds=90, what="the end")
        results = client.results(job)
        results.assert_whole(IDS)
        assert results.batch["retries"] == sim.stats()["requests"] - len(IDS)
        under_way = [batch for batch in seen if batch["status"] == "in_progress"]
        tokens = [batch["usage"]["total_tokens"] for batch in under_way]
        retries = [batch["retries"] for batch in under_way]
        assert tokens == sorted(tokens)
        assert retries == sorted(retries)
        assert len(set(tokens)) > 2
        assert len(set(retries)) > 2
        assert max(tokens) <= results.batch["usage"]["total_tokens"]
        with urllib.request.urlopen(f"{service.base_url}/together/v1/batches/{job}") as reply:
            other = json.load(reply)
        assert other["retries"] == results.batch["retries"]
        assert other["usage"] == results.batch["usage"]
