"""One batch with the Together SDK: `together_batch.py BASE_URL INPUT FOLDER`.

Run by the SDK's own Python. Prints a line of JSON at each look: `status`, `done`, `failed`,
`total`, `retries`, `waiting_for`; the last one has `seconds`, from `create` to when the end was
seen, and `usage` too. The files are in FOLDER then, as `output.jsonl` and `errors.jsonl`, if there
are any.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from together import Together  # type: ignore[import-not-found]  # the SDK's environment has it

ENDED = {"COMPLETED", "FAILED", "EXPIRED", "CANCELLED"}
LOOK_SECONDS = 0.25


def main(base_url: str, source: str, folder: str) -> None:
    client = Together(api_key="any", base_url=base_url)
    file = client.files.upload(file=source, purpose="batch-api")
    began = time.monotonic()
    job = client.batches.create(endpoint="/v1/chat/completions", input_file_id=file.id).job
    while job.status not in ENDED:
        time.sleep(LOOK_SECONDS)
        job = client.batches.retrieve(job.id)
        tell(job.to_dict())
    seconds = time.monotonic() - began
    for file_id, name in ((job.output_file_id, "output"), (job.error_file_id, "errors")):
        if file_id is not None:
            content = client.files.content(file_id).read()
            (Path(folder) / f"{name}.jsonl").write_bytes(content)
    fields = job.to_dict()
    tell(fields, seconds=seconds, usage=fields["usage"], error=fields["error"])


def tell(job: dict[str, Any], **more: object) -> None:
    counts = job["request_counts"]
    look = {
        "status": job["status"],
        "done": counts["completed"] + counts["failed"],
        "failed": counts["failed"],
        "total": counts["total"],
        "retries": job["retries"],
        "waiting_for": job["waiting_for"],
    }
    print(json.dumps(look | more), flush=True)  # noqa: T201  read by whoever started it


if __name__ == "__main__":
    main(*sys.argv[1:])
