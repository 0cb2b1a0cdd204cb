"""curl with the forms that OpenAI's and Together's documentation show.

Nothing in such a request says which dialect is meant but the key, which has one.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

from scenario import play
from vocabulary import CHAT, Client, File, Job, Options, Refused


class Curl(Client):
    """What is common to both kinds."""

    def __init__(self, options: Options, key: str | None = None) -> None:
        super().__init__(options)
        self.key = key or options.key

    def ask(self, path: str, *arguments: str) -> bytes:
        """The body of the answer; raises `Refused` for an error."""
        url = path if "://" in path else f"{self.options.base_url}/v1/{path}"
        command = ["curl", "-sS", url, *arguments, "-w", "\n%{http_code}"]
        if url is not path:
            command += ["-H", f"Authorization: Bearer {self.key}"]
        ended = subprocess.run(command, check=True, capture_output=True)
        body, _, status = ended.stdout.rpartition(b"\n")
        if int(status) >= 400:
            told = json.loads(body)["error"]
            raise Refused(told["message"], int(status), told["code"], told["param"])
        return body

    def ask_json(self, path: str, *arguments: str) -> Any:
        return json.loads(self.ask(path, *arguments))

    def file(self, file_id: str) -> File:
        return told_file(self.ask_json(f"files/{file_id}"))

    def content(self, file_id: str) -> bytes:
        return self.ask(f"files/{file_id}/content")

    def delete(self, file_id: str) -> None:
        assert self.ask_json(f"files/{file_id}", "-X", "DELETE")["deleted"] is True

    def posted(self, path: str, body: object, *arguments: str) -> Any:
        sent = ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        return self.ask_json(path, *sent, *arguments)

    def with_key(self, key: str) -> Client:
        return type(self)(self.options, key)


class OpenAiCurl(Curl):
    def upload(self, path: Path, lives_seconds: int | None = None) -> File:
        form = ["-F", "purpose=batch", "-F", f"file=@{path}"]
        if lives_seconds is not None:
            form += ["-F", "expires_after[anchor]=created_at"]
            form += ["-F", f"expires_after[seconds]={lives_seconds}"]
        return told_file(self.ask_json("files", *form))

    def upload_in_parts(self, path: Path) -> File:
        data = path.read_bytes()
        half = len(data) // 2
        wanted = {"purpose": "batch", "filename": path.name, "bytes": len(data)}
        upload = self.posted("uploads", wanted | {"mime_type": "text/jsonl"})["id"]
        part_ids = []
        for number, part in enumerate((data[:half], data[half:])):
            piece = path.with_name(f"part-{number}")
            piece.write_bytes(part)
            added = self.ask_json(f"uploads/{upload}/parts", "-F", f"data=@{piece}")
            part_ids.append(added["id"])
        done = self.posted(f"uploads/{upload}/complete", {"part_ids": part_ids})
        assert done["status"] == "completed", done
        return told_file(done["file"])

    def upload_for(self, path: Path, purpose: str) -> File:
        return told_file(self.ask_json("files", "-F", f"purpose={purpose}", "-F", f"file=@{path}"))

    def files(self) -> list[str]:
        return self.all_of("files")

    def jobs(self) -> list[str]:
        return self.all_of("batches")

    def all_of(self, what: str) -> list[str]:
        ids: list[str] = []
        while True:
            after = f"&after={ids[-1]}" if ids else ""
            page = self.ask_json(f"{what}?limit=5{after}")
            ids += [one["id"] for one in page["data"]]
            if not page["has_more"]:
                return ids

    def page(self, after: str | None, limit: int) -> list[str]:
        cursor = f"&after={after}" if after else ""
        page = self.ask_json(f"files?purpose=batch&limit={limit}{cursor}")
        return [file["id"] for file in page["data"]]

    def create(self, file_id: str, endpoint: str = CHAT, **more: Any) -> Job:
        headers = []
        if key := more.pop("idempotency_key", None):
            headers = ["-H", f"Idempotency-Key: {key}"]
        if seconds := more.pop("output_lives_seconds", None):
            more["output_expires_after"] = {"anchor": "created_at", "seconds": seconds}
        wanted = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": "24h"}
        return told_batch(self.posted("batches", wanted | more, *headers))

    def job(self, job_id: str) -> Job:
        return told_batch(self.ask_json(f"batches/{job_id}"))

    def cancel(self, job_id: str) -> Job:
        return told_batch(self.ask_json(f"batches/{job_id}/cancel", "-X", "POST"))


class TogetherCurl(Curl):
    has_metadata = False

    def upload(self, path: Path, lives_seconds: int | None = None) -> File:
        form = ["-F", "purpose=batch-api", "-F", f"file_name={path.name}", "-F", f"file=@{path}"]
        return told_file(self.ask_json("files/upload", *form))

    def files(self) -> list[str]:
        return [file["id"] for file in self.ask_json("files")["data"]]

    def jobs(self) -> list[str]:
        return [job["id"] for job in self.ask_json("batches")]

    def create(self, file_id: str, endpoint: str = CHAT, **more: Any) -> Job:
        headers = []
        if key := more.pop("idempotency_key", None):
            headers = ["-H", f"Idempotency-Key: {key}"]
        if model := more.pop("model", None):
            more["model_id"] = model
        wanted = {"input_file_id": file_id, "endpoint": endpoint}
        return told_job(self.posted("batches", wanted | more, *headers)["job"])

    def job(self, job_id: str) -> Job:
        return told_job(self.ask_json(f"batches/{job_id}"))

    def cancel(self, job_id: str) -> Job:
        return told_job(self.ask_json(f"batches/{job_id}/cancel", "-X", "POST"))


def told_file(file: dict[str, Any]) -> File:
    expires_at = file.get("expires_at")
    return File(
        id=file["id"],
        bytes=file["bytes"],
        filename=file["filename"],
        purpose=file["purpose"],
        lives_seconds=None if expires_at is None else expires_at - file["created_at"],
    )


def told_batch(batch: dict[str, Any]) -> Job:
    counts = batch["request_counts"]
    faults = batch["errors"]["data"] if batch["errors"] else []
    return Job(
        id=batch["id"],
        status=batch["status"],
        input_file_id=batch["input_file_id"],
        output_file_id=batch["output_file_id"],
        error_file_id=batch["error_file_id"],
        counts=(counts["total"], counts["completed"], counts["failed"]),
        metadata=batch["metadata"],
        faults=" ".join(f"{fault['code']} line {fault['line']}" for fault in faults),
    )


def told_job(job: dict[str, Any]) -> Job:
    status = job["status"].lower()
    return Job(
        id=job["id"],
        status="cancelling" if status == "canceling" else status,
        input_file_id=job["input_file_id"],
        output_file_id=job["output_file_id"],
        error_file_id=job["error_file_id"],
        faults=job["error"] or "",
        model=job["model_id"],
    )


if __name__ == "__main__":
    play(lambda options: {"openai": OpenAiCurl, "together": TogetherCurl}[options.kind](options))
