"""The command lines `together` of 2.x and 3.x, `together` of 1.x and `openai` of 1.x.

What fails is told by the exit code and what was printed.
"""

import json
import os
import re
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from curl import told_file, told_job
from scenario import play
from vocabulary import Client, File, Job, NotOffered, Options, Refused

SAYS_NOTHING_TO_ANYONE = {"TOGETHER_TELEMETRY_DISABLED": "1", "TOGETHER_NO_UPDATE_CHECK": "1"}


class CommandLine(Client):
    has_metadata = False

    def __init__(self, options: Options, key: str | None = None) -> None:
        super().__init__(options)
        self.key = key or options.key

    def with_key(self, key: str) -> Client:
        return type(self)(self.options, key)

    def variables(self) -> dict[str, str]:
        raise NotImplementedError

    def said(self, *arguments: str) -> str:
        """What is printed; raises `Refused` when the exit code is not 0."""
        ended = subprocess.run(
            [self.options.command, *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.options.folder,
            env=os.environ | SAYS_NOTHING_TO_ANYONE | self.variables(),
        )
        if ended.returncode != 0:
            raise Refused(ended.stdout + ended.stderr)
        return ended.stdout

    def said_json(self, *arguments: str) -> Any:
        return json.loads(self.said(*arguments))


class TogetherCommand(CommandLine):
    """2.x and 3.x."""

    def variables(self) -> dict[str, str]:
        path = "/v1" if "together-2" in self.options.command else ""
        return {"TOGETHER_API_KEY": self.key, "TOGETHER_BASE_URL": self.options.base_url + path}

    def upload(self, path: Path, lives_seconds: int | None = None) -> File:
        return told_file(self.said_json("files", "upload", str(path), *PURPOSE, "--json"))

    def file(self, file_id: str) -> File:
        return told_file(self.said_json("files", "get", file_id, "--json"))

    def content(self, file_id: str) -> bytes:
        """Into a folder of its own, where it gets the server's name for it."""
        with TemporaryDirectory() as folder:
            self.said("files", "download", file_id, "--output", folder)
            (downloaded,) = Path(folder).iterdir()
            return downloaded.read_bytes()

    def files(self) -> list[str]:
        return [file["id"] for file in self.said_json("files", "list", "--json")]

    def delete(self, file_id: str) -> None:
        assert self.said_json("files", "delete", file_id, "--json") == {"success": True}

    def create(self, file_id: str, endpoint: str = "", **more: Any) -> Job:
        if more:
            raise NotOffered
        submitted = self.said_json("batches", "submit", file_id, "chat.completions", "--json")
        return told_job(submitted["job"])

    def job(self, job_id: str) -> Job:
        return told_job(self.said_json("batches", "get", job_id, "--json"))

    def jobs(self) -> list[str]:
        return [job["id"] for job in self.said_json("batches", "list", "--json")]

    def results(self, job: Job) -> bytes:
        target = self.options.folder / "results.jsonl"
        self.said("batches", "download", job.id, "--output", str(target))
        return target.read_bytes()

    def cancel(self, job_id: str) -> Job:
        return told_job(self.said_json("batches", "cancel", job_id, "--json"))


class OldTogetherCommand(CommandLine):
    """1.x: files only."""

    def variables(self) -> dict[str, str]:
        return {"TOGETHER_API_KEY": self.key, "TOGETHER_BASE_URL": f"{self.options.base_url}/v1"}

    def upload(self, path: Path, lives_seconds: int | None = None) -> File:
        return told_file(self.said_json("files", "upload", str(path), *PURPOSE, "--no-check"))

    def file(self, file_id: str) -> File:
        return told_file(self.said_json("files", "retrieve", file_id))

    def content(self, file_id: str) -> bytes:
        target = self.options.folder / "downloaded.jsonl"
        self.said("files", "retrieve-content", file_id, "--output", str(target))
        return target.read_bytes()

    def files(self) -> list[str]:
        return re.findall(r"file-\w+", self.said("files", "list"))

    def delete(self, file_id: str) -> None:
        assert self.said_json("files", "delete", file_id)["deleted"] is True


class OpenAiCommand(CommandLine):
    """openai 1.x: files only; later versions install no such program.

    `files.retrieve` and `files.delete` fail in it before they ask anything.
    """

    def variables(self) -> dict[str, str]:
        # Without the slash it would ask for `/v1files`.
        return {"OPENAI_API_KEY": self.key, "OPENAI_BASE_URL": f"{self.options.base_url}/v1/"}

    def upload(self, path: Path, lives_seconds: int | None = None) -> File:
        return told_file(self.said_json("api", "files.create", "-f", str(path), "-p", "batch"))

    def files(self) -> list[str]:
        return re.findall(r'"id": "(file-\w+)"', self.said("api", "files.list"))


PURPOSE = ("--purpose", "batch-api")
KINDS = {"together": TogetherCommand, "together 1": OldTogetherCommand, "openai": OpenAiCommand}

if __name__ == "__main__":
    play(lambda options: KINDS[options.kind](options))
