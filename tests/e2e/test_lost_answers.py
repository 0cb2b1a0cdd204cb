"""An SDK that sends a create again, its answer having been lost on the way, gets the one job."""

from pathlib import Path

import pytest

from overnight.domain.dialect import Dialect
from overnight.store.tables import jobs
from support.api_server import ApiServer
from support.losing_proxy import losing_proxy
from support.sdk import run_script

OPENAI = """
import sys
from openai import OpenAI
client = OpenAI(api_key="any", base_url=sys.argv[1] + "/v1")
batch = client.batches.create(
    input_file_id=sys.argv[2], endpoint="/v1/chat/completions", completion_window="24h"
)
print(batch.id)
"""

TOGETHER = """
import sys
from together import Together
client = Together(api_key="any", base_url=sys.argv[1] + sys.argv[3])
print(client.batches.create(input_file_id=sys.argv[2], endpoint="/v1/chat/completions").job.id)
"""

TOGETHER_1 = """
import sys
from together import Together
client = Together(
    api_key="any", base_url=sys.argv[1] + "/v1", supplied_headers={"Idempotency-Key": "mine"}
)
print(client.batches.create_batch(sys.argv[2], "/v1/chat/completions").id)
"""


@pytest.mark.parametrize(
    ("sdk", "script", "suffix"),
    [
        ("openai-1", OPENAI, ""),
        ("openai-2", OPENAI, ""),
        ("openai-3", OPENAI, ""),
        ("together-2", TOGETHER, "/v1"),
        ("together-3", TOGETHER, ""),
        # It does not say that it repeats itself, so its user has to name the request.
        ("together-1", TOGETHER_1, ""),
    ],
)
def test_one_job_exists(tmp_path: Path, sdk: str, script: str, suffix: str) -> None:
    with (
        ApiServer(tmp_path, dialect=Dialect.OPENAI) as server,
        losing_proxy(server.port, "POST /v1/batches ") as proxy,
    ):
        file_id = server.upload()
        told = run_script(sdk, script, proxy.base_url, file_id, suffix).stdout.split()[-1]
        made = server.store(lambda tx: list(tx.scalars(jobs.select())))
        assert proxy.lost.startswith(b"HTTP/1.1 20")
    assert made == [told]
