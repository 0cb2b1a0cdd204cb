"""npm's openai: the same steps, each call made by Node.js (openai_npm.mjs)."""

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

from curl import told_batch, told_file
from scenario import play
from vocabulary import CHAT, Client, File, Job, Options, Refused

BRIDGE = Path(__file__).with_suffix(".mjs")


class NpmClient(Client):
    def __init__(self, options: Options, key: str | None = None, base_path: str = "/v1") -> None:
        super().__init__(options)
        self.node = subprocess.Popen(
            ["node", BRIDGE, options.command, options.base_url + base_path, key or options.key],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, call: str, **named: Any) -> Any:
        assert self.node.stdin is not None
        assert self.node.stdout is not None
        self.node.stdin.write(json.dumps({"call": call, "named": named}) + "\n")
        self.node.stdin.flush()
        answer = json.loads(self.node.stdout.readline())
        if refused := answer.get("refused"):
            assert refused.pop("requestID"), "there is no request id"
            raise Refused(**refused)
        return answer["result"]

    def upload(self, path: Path, lives_seconds: int | None = None) -> File:
        expiry = {"anchor": "created_at", "seconds": lives_seconds}
        more = {} if lives_seconds is None else {"expires_after": expiry}
        return told_file(self.call("upload", path=str(path), purpose="batch", **more))

    def upload_in_parts(self, path: Path) -> File:
        data = path.read_bytes()
        half = len(data) // 2
        wanted = {"purpose": "batch", "filename": path.name, "bytes": len(data)}
        upload = self.call("upload_create", **wanted, mime_type="application/jsonl")
        part_ids = []
        for number, part in enumerate((data[:half], data[half:])):
            piece = path.with_name(f"part-{number}")
            piece.write_bytes(part)
            part_ids.append(self.call("upload_part", id=upload["id"], path=str(piece))["id"])
        return told_file(self.call("upload_complete", id=upload["id"], part_ids=part_ids)["file"])

    def upload_for(self, path: Path, purpose: str) -> File:
        return told_file(self.call("upload", path=str(path), purpose=purpose))

    def file(self, file_id: str) -> File:
        return told_file(self.call("file", id=file_id))

    def content(self, file_id: str) -> bytes:
        return base64.b64decode(self.call("content", id=file_id))

    def files(self) -> list[str]:
        return self.call("files")

    def page(self, after: str | None, limit: int) -> list[str]:
        cursor = {"after": after} if after else {}
        return self.call("page", limit=limit, purpose="batch", **cursor)

    def delete(self, file_id: str) -> None:
        assert self.call("delete", id=file_id)["deleted"] is True

    def create(self, file_id: str, endpoint: str = CHAT, **more: Any) -> Job:
        if key := more.pop("idempotency_key", None):
            more["headers"] = {"Idempotency-Key": key}
        if seconds := more.pop("output_lives_seconds", None):
            more["output_expires_after"] = {"anchor": "created_at", "seconds": seconds}
        wanted = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": "24h"}
        return told_batch(self.call("create", **wanted, **more))

    def job(self, job_id: str) -> Job:
        return told_batch(self.call("job", id=job_id))

    def jobs(self) -> list[str]:
        return self.call("jobs")

    def cancel(self, job_id: str) -> Job:
        return told_batch(self.call("cancel", id=job_id))

    def with_key(self, key: str) -> Client:
        return NpmClient(self.options, key)

    def at_other_places(self) -> list[Client]:
        return [NpmClient(self.options, None, path) for path in ("", "/v1/v1", "/openai/v1")]


if __name__ == "__main__":
    play(NpmClient)
