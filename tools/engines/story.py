"""The demo with a real engine: a batch out of a novel, and the engine dies in the middle."""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overnight.cli.demo.batch_client import Batch, BatchClient
from overnight.cli.demo.novel import AUTHOR, TITLE, YEAR, paragraphs
from overnight.cli.demo.processes import running
from overnight.cli.demo.story import show_sample
from overnight.cli.progress import ProgressLine
from overnight.domain.errors import Unavailable
from tools.engines.batch import requests
from tools.engines.catalogue import Engine
from tools.engines.installation import install
from tools.engines.process import EngineProcess, running_engine
from tools.environment import say

KILL_AT: Final = 0.4
_LOOK_SECONDS: Final = 0.2
_BATCH_SECONDS_MAX: Final = 900.0
_ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})


def tell(engine: Engine) -> bool:
    """Says whether each request has its one result. Raises `Unavailable`."""
    say(f"Engine   {engine.title}: {install(engine)}")
    with (
        running_engine(engine) as process,
        tempfile.TemporaryDirectory(prefix="overnight-demo-") as name,
    ):
        seconds = process.wait_until_ready()
        say(f"         {process.base_url}, ready after {seconds:.0f} s. Its model has random")
        say("         weights: real work, answers without sense")
        with running(
            *("serve", "--port", "0", "--data-dir", str(Path(name) / "data")),
            *("--upstream", process.base_url, "--max-in-flight", str(engine.max_in_flight)),
            folder=Path(name),
        ) as service:
            say(f"Service  {service['url']}, SQLite and a temporary folder")
            return Story(process, str(service["url"])).run()


@dataclass(frozen=True)
class Story:
    engine: EngineProcess
    service_url: str

    def run(self) -> bool:
        client = BatchClient(self.service_url)
        batch = self._submit(client)
        total = self.engine.engine.requests
        batch = self._watch(client, batch, "running", lambda now: _done(now) >= KILL_AT * total)
        if batch["status"] in _ENDED:
            raise Unavailable("the batch ended before its engine could be killed")
        with ThreadPoolExecutor(max_workers=1) as threads:
            ready = self._kill(threads)
            batch = self._watch(client, batch, "going on", lambda _: False)
            say(f"\nThe engine was away for {ready.result():.0f} s.")
        if batch["output_file_id"] is None:
            raise Unavailable(f"the batch ended as {batch['status']}, without a result file")
        results = client.results(batch["output_file_id"])
        show_sample(list(paragraphs()), results)
        ids = {result.custom_id for result in results}
        say(
            f"{total} requests, {len(results)} results, {total - len(ids)} missing, "
            f"{len(results) - len(ids)} twice, {batch['request_counts']['failed']} failed; "
            "engine killed once"
        )
        return len(results) == len(ids) == total

    def _submit(self, client: BatchClient) -> Batch:
        engine = self.engine.engine
        lines = requests(engine.served_as, engine.requests)
        content = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines).encode()
        batch = client.create(client.upload("paragraphs.jsonl", content), "/v1/chat/completions")
        say(f"Input    {len(lines)} paragraphs of “{TITLE}” ({AUTHOR}, {YEAR})")
        say(f"Batch    {batch['id']}; you could go to sleep now\n")
        return batch

    def _watch(
        self, client: BatchClient, batch: Batch, label: str, enough: Callable[[Batch], bool]
    ) -> Batch:
        """Show how far the batch is until that is enough or it has ended."""
        deadline = time.monotonic() + _BATCH_SECONDS_MAX
        with ProgressLine(self.engine.engine.requests, label, stream=sys.stdout) as line:
            while not (batch["status"] in _ENDED or enough(batch)):
                if time.monotonic() > deadline:
                    why = batch["waiting_for"] or "and it does not say why"
                    raise Unavailable(f"the batch does not get done: {why}")
                time.sleep(_LOOK_SECONDS)
                batch = client.retrieve(batch["id"])
                line.update(_done(batch), note=batch["waiting_for"] or "")
        return batch

    def _kill(self, threads: ThreadPoolExecutor) -> Future[float]:
        self.engine.kill()
        say("\nNow the bad night: kill -9 of the engine and its children. It is started again and")
        say("loads its model; the batch waits, and says what for.\n")
        self.engine.start()
        return threads.submit(self.engine.wait_until_ready)


def _done(batch: Batch) -> int:
    counts = batch["request_counts"]
    return counts["completed"] + counts["failed"]
