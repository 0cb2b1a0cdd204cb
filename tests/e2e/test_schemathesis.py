"""schemathesis against both documents: no 5xx, no reply that is not documented, no key no entry."""

import os
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from overnight.domain.job import JobEvent
from overnight.seams import Seams
from overnight.store import jobs as job_rows
from support.api_server import ApiServer, form

KEY = {"authorization": "Bearer secret"}
LINE = b'{"custom_id":"a","body":{"model":"m","messages":[]}}\n'
UNCHECKED = "positive_data_acceptance"
"""A document can not say that an id has to be one there is."""

OPTIONS = (
    *("--seed", "20261121", "--max-examples", "10"),
    *("--checks", "all", "--exclude-checks", UNCHECKED, "--warnings", "off"),
    *("--header", "Authorization: Bearer secret"),
)

ENDS = (
    (),
    (JobEvent.CANCEL_REQUESTED,),
    (JobEvent.DEADLINE_PASSED,),
    (JobEvent.REJECTED,),
    (JobEvent.ACCEPTED,),
    (JobEvent.ACCEPTED, JobEvent.ALL_SETTLED),
    (JobEvent.ACCEPTED, JobEvent.ALL_SETTLED, JobEvent.PUBLISHED),
    (JobEvent.ACCEPTED, JobEvent.CANCEL_REQUESTED),
)
"""What has happened to the jobs that are there."""


async def nowhere(host: str, port: int) -> list[str]:
    """Generated webhooks are sent to nobody."""
    raise OSError(f"{host}:{port} is not looked for in tests")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with ApiServer(
        tmp_path / "data", api_keys=("secret",), seams=Seams(resolve=nowhere)
    ) as running:
        fill(running)
        yield running


def fill(server: ApiServer) -> None:
    for number, events in enumerate(ENDS):
        body, kind = form({"purpose": "batch"}, LINE, f"{number}.jsonl")
        file_id = server.ask("POST", "/v1/files", body, kind | KEY).at("id")
        wish = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "metadata": {"n": ""}}
        job_id = str(server.post_json("/v1/batches", wish, KEY).at("id"))
        for event in events:
            server.store(
                lambda tx, job_id=job_id, event=event: job_rows.advance(tx, job_id, event, 1.0)
            )
    body, kind = form({"purpose": "batch-api", "file_name": "pending.jsonl"})
    assert server.ask("POST", "/together/v1/files", body, kind | KEY).status == 302
    parts = {"file_name": "a.jsonl", "file_size": 10, "num_parts": 2, "purpose": "batch-api"}
    assert server.post_json("/v1/files/multipart/initiate", parts, KEY).status == 200
    upload = {"filename": "a.jsonl", "bytes": 9, "purpose": "batch", "mime_type": "text/plain"}
    assert server.post_json("/v1/uploads", upload, KEY).status == 200
    hook = {"name": "n", "url": "https://example.com/", "event_types": ["batch.completed"]}
    assert server.post_json("/v1/webhook_endpoints", hook, KEY).status == 200


@pytest.mark.parametrize("dialect", ["openai", "together"])
def test_nothing_is_answered_that_is_not_documented(
    server: ApiServer, tmp_path: Path, dialect: str
) -> None:
    program = Path(sysconfig.get_path("scripts")) / "schemathesis"
    document = f"{server.base_url}/{dialect}/openapi.json"
    run = subprocess.run(
        [program, "run", document, *OPTIONS],
        cwd=tmp_path,
        env=os.environ | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Stateful" in run.stdout
