"""What goes over the wire, in both dialects, is what tests/conformance/golden says."""

import os
from pathlib import Path
from typing import Any

from support.batches import input_line
from tests.conformance.golden import Recorder, compare

GOLDEN = Path(__file__).parent / "golden"
REWRITE = os.environ.get("REWRITE_GOLDEN") == "1"
CHAT = "/v1/chat/completions"
GOOD, SLOW = input_line("good"), input_line("slow", model="slow")
FAULTY = GOOD + GOOD + b"{no json\n"


def mixed(dialect: str) -> bytes:
    """One that is answered and one that is refused, both never sent by anyone else: an engine
    numbers what comes again."""
    return input_line(f"good {dialect}") + input_line(f"bad {dialect}", messages=[], user=dialect)


def test_openai(place: dict[str, Any]) -> None:
    recorder = Recorder(place["base_url"], {"authorization": "Bearer on-golden-openai"})
    openai_files(recorder)
    openai_batches(recorder)
    compare(GOLDEN / "openai.txt", f"# The OpenAI dialect\n\n{recorder.text}", REWRITE)


def test_together(place: dict[str, Any]) -> None:
    headers = {
        "authorization": "Bearer on-golden-together",
        "user-agent": "Together/Python 3.1.1",
    }
    recorder = Recorder(place["base_url"], headers)
    together_files(recorder)
    together_batches(recorder)
    compare(GOLDEN / "together.txt", f"# The Together dialect\n\n{recorder.text}", REWRITE)


def openai_files(recorder: Recorder) -> None:
    ask, post, form = recorder.ask, recorder.post, recorder.form
    _, file = form("Upload a file", "/v1/files", {"purpose": "batch"}, file=GOOD)
    expiry = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    form("Upload a file that expires", "/v1/files", {"purpose": "batch"} | expiry, file=GOOD)
    form("Upload without a file", "/v1/files", {"purpose": "batch"})
    ask("Retrieve a file", "GET", f"/v1/files/{file['id']}")
    ask("Retrieve a file there is not", "GET", "/v1/files/file-none")
    ask("List files", "GET", "/v1/files?limit=1")
    ask("List files from the last one on", "GET", f"/v1/files?limit=1&after={file['id']}")
    ask("Read a part of a file", "GET", f"/v1/files/{file['id']}/content", range="bytes=0-18")
    ask("Delete a file", "DELETE", f"/v1/files/{file['id']}")
    named = {"filename": "in.jsonl", "purpose": "batch", "mime_type": "application/jsonl"}
    upload = post("Begin an upload in parts", "/v1/uploads", named | {"bytes": len(GOOD)})
    _, part = form("Add a part", f"/v1/uploads/{upload['id']}/parts", {}, data=GOOD)
    path = f"/v1/uploads/{upload['id']}/complete"
    post("Complete it", path, {"part_ids": [part["id"]]})
    ask("Come with a key that is none", "GET", "/v1/files", authorization="Bearer wrong")


def openai_batches(recorder: Recorder) -> None:
    ask, post = recorder.ask, recorder.post
    wish = {"endpoint": CHAT, "completion_window": "24h"}

    def created(title: str, data: bytes, **more: object) -> str:
        _, file = recorder.form(
            f"Upload for: {title}", "/v1/files", {"purpose": "batch"}, file=data
        )
        batch = post(title, "/v1/batches", wish | {"input_file_id": file["id"]} | more)
        return str(batch["id"])

    done = created("Create a batch", mixed("openai"), metadata={"run": "1"})
    recorder.until(f"/v1/batches/{done}", {"completed"})
    _, batch = ask("Retrieve it when it has ended", "GET", f"/v1/batches/{done}")
    ask("Read its output", "GET", f"/v1/files/{batch['output_file_id']}/content")
    ask("Read its errors", "GET", f"/v1/files/{batch['error_file_id']}/content")
    ask("List batches", "GET", "/v1/batches?limit=1")
    post("Cancel a batch that has ended", f"/v1/batches/{done}/cancel")
    failed = created("Create a batch of a faulty file", FAULTY)
    recorder.until(f"/v1/batches/{failed}", {"failed"})
    ask("Retrieve it when it has failed", "GET", f"/v1/batches/{failed}")
    slow = created("Create a batch that takes long", SLOW)
    recorder.until(f"/v1/batches/{slow}", {"in_progress"})
    _, batch = ask("Retrieve it", "GET", f"/v1/batches/{slow}")
    ask("Delete its input", "DELETE", f"/v1/files/{batch['input_file_id']}")
    post("Cancel it", f"/v1/batches/{slow}/cancel")
    recorder.until(f"/v1/batches/{slow}", {"cancelled"})
    _, batch = ask("Retrieve it when it is cancelled", "GET", f"/v1/batches/{slow}")
    ask("Read what was cancelled", "GET", f"/v1/files/{batch['error_file_id']}/content")
    ask("Retrieve a batch there is not", "GET", "/v1/batches/batch_none")
    wrong = wish | {"input_file_id": "file-none"}
    post("Create a batch of a file there is not", "/v1/batches", wrong)
    post("Create one for another endpoint", "/v1/batches", wrong | {"endpoint": "/v1/none"})
    post("Create one with wrong metadata", "/v1/batches", wrong | {"metadata": {"key": 1}})


def together_files(recorder: Recorder) -> None:
    ask, post = recorder.ask, recorder.post
    wish = b"purpose=batch-api&file_name=in.jsonl&file_type=jsonl"
    kind = "application/x-www-form-urlencoded"
    # These carry their right in the URL.
    bare = {"authorization": "", "user_agent": ""}
    told, _ = ask("Upload, first step", "POST", "/v1/files", wish, content_type=kind)
    place = told["location"].partition("//")[2].partition("/")[2]
    ask("Second step", "PUT", f"/{place}", GOOD, **bare)
    file_id = told["x-together-file-id"]
    post("Third step", f"/v1/files/{file_id}/preprocess")
    ask("Retrieve a file", "GET", f"/v1/files/{file_id}")
    ask("Retrieve a file there is not", "GET", "/v1/files/file-none")
    ask("List files", "GET", "/v1/files")
    ask("Delete a file", "DELETE", f"/v1/files/{file_id}")
    large = {"file_name": "in.jsonl", "file_size": 2 * len(GOOD), "num_parts": 2}
    more = {"purpose": "batch-api", "file_type": "jsonl"}
    begun = post("Begin an upload in parts", "/v1/files/multipart/initiate", large | more)
    parts = []
    for part in begun["parts"]:
        place = part["URL"].partition("//")[2].partition("/")[2]
        told, _ = ask(f"Put part {part['PartNumber']}", "PUT", f"/{place}", GOOD, **bare)
        parts.append({"part_number": part["PartNumber"], "etag": told["etag"].strip('"')})
    ids = {"upload_id": begun["upload_id"], "file_id": begun["file_id"]}
    post("Complete it", "/v1/files/multipart/complete", ids | {"parts": parts})
    ask("Come with a key that is none", "GET", "/v1/files", authorization="Bearer wrong")
    ask("Ask who one is, as its command line does", "GET", "/v3/whoami")


def together_batches(recorder: Recorder) -> None:
    ask, post = recorder.ask, recorder.post

    def created(title: str, data: bytes, **more: object) -> str:
        fields = {"purpose": "batch-api", "file_name": "in.jsonl"}
        _, file = recorder.form(f"Upload for: {title}", "/v1/files/upload", fields, file=data)
        wish = {"endpoint": CHAT, "input_file_id": file["id"]} | more
        return str(post(title, "/v1/batches", wish)["job"]["id"])

    done = created("Create a job", mixed("together"), model_id="sim", priority=1)
    recorder.until(f"/v1/batches/{done}", {"COMPLETED"})
    _, job = ask("Retrieve it when it has ended", "GET", f"/v1/batches/{done}")
    ask("Read its output", "GET", f"/v1/files/{job['output_file_id']}/content")
    ask("Read its errors", "GET", f"/v1/files/{job['error_file_id']}/content")
    post("Cancel a job that has ended", f"/v1/batches/{done}/cancel")
    failed = created("Create a job of a faulty file", FAULTY)
    recorder.until(f"/v1/batches/{failed}", {"FAILED"})
    ask("Retrieve it when it has failed", "GET", f"/v1/batches/{failed}")
    slow = created("Create a job that takes long", SLOW)
    recorder.until(f"/v1/batches/{slow}", {"IN_PROGRESS"})
    _, job = ask("Retrieve it", "GET", f"/v1/batches/{slow}")
    ask("Delete its input", "DELETE", f"/v1/files/{job['input_file_id']}")
    post("Cancel it", f"/v1/batches/{slow}/cancel")
    recorder.until(f"/v1/batches/{slow}", {"CANCELLED"})
    ask("List jobs", "GET", "/v1/batches")
    ask("Retrieve a job there is not", "GET", "/v1/batches/batch_none")
    post(
        "Create a job for another endpoint", "/v1/batches", {"input_file_id": "x", "endpoint": "/"}
    )
