"""The demo with a real engine: a batch out of a novel, and the engine dies in the middle."""

import json
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overnight.cli.demo.batch import WatchedBatch
from overnight.cli.demo.novel import AUTHOR, TITLE, YEAR, paragraphs
from overnight.cli.demo.processes import running
from overnight.cli.demo.story import show_sample
from overnight.cli.remote.connection import Connection, Dialect
from overnight.client.client import Client
from overnight.domain.errors import Unavailable
from tools.engines.batch import requests
from tools.engines.catalogue import Engine
from tools.engines.installation import install
from tools.engines.process import EngineProcess, running_engine
from tools.environment import say

KILL_AT: Final = 0.4
_REQUESTS_MAX: Final = 600
"""The novel has a few more paragraphs; reading it twice would spoil the sample."""
_BATCH_SECONDS_MAX: Final = 900.0


def tell(engine: Engine) -> bool:
    """Says whether each request has its one result. Raises `Unavailable`."""
    say(f"Engine   {engine.title}: {install(engine)}")
    with (
        running_engine(engine) as process,
        tempfile.TemporaryDirectory(prefix="overnight-demo-") as name,
    ):
        say("         starting it and loading its model …")
        seconds = process.wait_until_ready()
        say(f"         {process.base_url}, ready after {seconds:.0f} s. Its model has random")
        say("         weights: real work, answers without sense")
        with running(
            *("serve", "--port", "0", "--data-dir", str(Path(name) / "data")),
            *("--upstream", process.base_url, "--max-in-flight", str(engine.max_in_flight)),
            folder=Path(name),
        ) as service:
            say(f"Service  {service['url']}, SQLite and a temporary folder")
            with Connection(str(service["url"]), None, Dialect.OPENAI).open() as client:
                return Story(process, client, Path(name)).run()


@dataclass(frozen=True)
class Story:
    engine: EngineProcess
    client: Client
    folder: Path

    @property
    def total(self) -> int:
        return min(self.engine.engine.requests, _REQUESTS_MAX)

    def run(self) -> bool:
        total = self.total
        batch = self._submit()
        batch.watch("running", total, until=KILL_AT * total, seconds_max=_BATCH_SECONDS_MAX)
        if batch.job.ended:
            raise Unavailable("the batch ended before its engine could be killed")
        with ThreadPoolExecutor(max_workers=1) as threads:
            ready = self._kill(threads)
            batch.watch("going on", total, seconds_max=_BATCH_SECONDS_MAX)
            say(f"\nThe engine was away for {ready.result():.0f} s.")
        results = batch.results()
        show_sample(list(paragraphs()), results)
        say("Now the count. What the dead engine had not answered was asked again:\n")
        ids = {result.custom_id for result in results}
        say(
            f"{total} requests, {len(results)} results, {total - len(ids)} missing, "
            f"{len(results) - len(ids)} twice, {batch.job.failed or 0} failed; "
            "engine killed once"
        )
        return len(results) == len(ids) == total

    def _submit(self) -> WatchedBatch:
        engine = self.engine.engine
        lines = requests(engine.served_as, self.total)
        content = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines).encode()
        batch = WatchedBatch.submit(self.client, self.folder, content)
        say(f"Input    {len(lines)} paragraphs of “{TITLE}” ({AUTHOR}, {YEAR})")
        say(f"Batch    {batch.job.id}; you could go to sleep now\n")
        return batch

    def _kill(self, threads: ThreadPoolExecutor) -> Future[float]:
        self.engine.kill()
        say("\nNow the bad night: kill -9 of the engine and its children. It is started again and")
        say("loads its model; the batch waits, and says what for.\n")
        self.engine.start()
        return threads.submit(self.engine.wait_until_ready)
