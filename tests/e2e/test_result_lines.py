"""Result files as users of each SDK read them, line by line, by their vendors' documentation."""

import json
from collections.abc import Iterator

import pytest

from support.batches import input_line
from support.sdk import run_script
from support.service import ServiceProcess, running_service
from support.sim import running_sim

FETCH = {
    "openai": """
import sys
from openai import OpenAI
client = OpenAI(api_key="any", base_url=sys.argv[1] + "/v1")
batch = client.batches.retrieve(sys.argv[2])
for file_id in (batch.output_file_id, batch.error_file_id):
    print(client.files.content(file_id).text, end="")
""",
    "together-1": """
import sys, tempfile, os
from together import Together
client = Together(api_key="any", base_url=sys.argv[1] + "/v1")
job = client.batches.get_batch(sys.argv[2])
for file_id in (job.output_file_id, job.error_file_id):
    path = os.path.join(tempfile.mkdtemp(), "f")
    client.files.retrieve_content(id=file_id, output=path)
    print(open(path).read(), end="")
""",
    "together": """
import sys
from together import Together
client = Together(api_key="any", base_url=sys.argv[1] + "/together" + sys.argv[3])
job = client.batches.retrieve(sys.argv[2])
for file_id in (job.output_file_id, job.error_file_id):
    print(client.files.content(file_id).read().decode(), end="")
""",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("service")
    with running_sim() as engine, running_service(folder, engine.base_url) as running:
        yield running


@pytest.fixture(scope="module")
def job(service: ServiceProcess) -> str:
    """Of one good request, and one that the engine refuses; spelt as for Azure."""
    content = input_line("good") + input_line("bad", messages=[])
    content = content.replace(b"/v1/chat/completions", b"/chat/completions")
    job_id = service.client.submit(content)
    assert service.client.wait(job_id)["status"] == "completed"
    return job_id


@pytest.mark.parametrize(
    ("sdk", "suffix"),
    [
        ("openai-1", ""),
        ("openai-2", ""),
        ("openai-3", ""),
        ("together-1", ""),
        ("together-2", "/v1"),
        ("together-3", ""),
    ],
)
def test_answers_and_refusals_are_where_they_are_looked_for(
    service: ServiceProcess, job: str, sdk: str, suffix: str
) -> None:
    script = FETCH.get(sdk) or FETCH[sdk.partition("-")[0]]
    written = run_script(sdk, script, service.base_url, job, suffix).stdout
    lines = [line for line in written.splitlines() if line.startswith("{")]
    good, bad = (json.loads(line) for line in lines)
    assert good["custom_id"] == "good"
    assert good["id"].startswith("batch_req_")
    assert good["response"]["status_code"] == 200
    assert good["response"]["request_id"]
    assert good["response"]["body"]["choices"][0]["message"]["content"]
    assert good["error"] is None
    assert bad["custom_id"] == "bad"
    # As OpenAI has it: the upstream's own answer.
    assert bad["response"]["status_code"] == 400
    assert bad["response"]["body"]["error"]["message"]
    # As Together has it: what went wrong, in two strings.
    assert bad["error"]["code"] == "upstream_error"
    assert isinstance(bad["error"]["message"], str)
