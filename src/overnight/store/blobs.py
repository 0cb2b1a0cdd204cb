"""Where bytes lie under the data folder.

files/FILE            input and result files
incoming/TOKEN        bytes that are arriving
uploads/UPLOAD/PART   of uploads in parts that have not ended
uploads/UPLOAD/joined what is joined of them so far
jobs/JOB/plan         order and cut of the job's requests
jobs/JOB/segments/    journals of its shards
jobs/JOB/*.draft      what a clerk was writing; rubbish once its claim is gone
"""

import re
from pathlib import Path
from typing import Final

from overnight.domain.errors import Unavailable
from overnight.seams import Disk

SCARCE_BYTES: Final = 64 * 1024
"""With less than that free, a disk is full for everyone: one write of ours may need as much."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}")


class Blobs:
    """Paths, and what makes or removes several of them. What touches disk raises `OSError`."""

    def __init__(self, root: Path, disk: Disk) -> None:
        self._files = root / "files"
        self._incoming = root / "incoming"
        self.uploads_folder = root / "uploads"
        self.jobs_folder = root / "jobs"
        self._disk = disk

    def make_folders(self) -> None:
        for folder in (self._files, self._incoming, self.uploads_folder, self.jobs_folder):
            self._disk.make_folder(folder)

    def room(self) -> int:
        """Bytes that are free on the disk; 0 when it can not say."""
        try:
            return self._disk.free_bytes(self.jobs_folder)
        except OSError:
            return 0

    def file_path(self, file_id: str) -> Path:
        return self._files / _checked(file_id)

    def list_files(self) -> list[str]:
        """Names in the folder of input and result files that can be ids."""
        return [name for name in self._disk.list_folder(self._files) if _NAME.fullmatch(name)]

    def incoming_path(self, token: str) -> Path:
        return self._incoming / _checked(token)

    def upload_folder(self, upload_id: str) -> Path:
        return self.uploads_folder / _checked(upload_id)

    def part_path(self, upload_id: str, part_id: str) -> Path:
        return self.upload_folder(upload_id) / _checked(part_id)

    def joined_path(self, upload_id: str) -> Path:
        return self.upload_folder(upload_id) / "joined"

    def job_folder(self, job_id: str) -> Path:
        return self.jobs_folder / _checked(job_id)

    def plan_path(self, job_id: str) -> Path:
        return self.job_folder(job_id) / "plan"

    def segments_folder(self, job_id: str) -> Path:
        return self.job_folder(job_id) / "segments"

    def check_file(self, file_id: str) -> None:
        """Raises `Unavailable` when the bytes are not there: in the transaction that adds the row,
        so that no sweep can have come between them.
        """
        try:
            self._disk.open(self.file_path(file_id)).close()
        except OSError as error:
            raise Unavailable(f"The upload is not there: {error.strerror}.") from error

    def remove_file(self, file_id: str) -> None:
        self._disk.remove(self.file_path(file_id))

    def remove_upload(self, upload_id: str) -> None:
        self._disk.remove_folder(self.upload_folder(upload_id))

    def remove_job(self, job_id: str) -> None:
        """Remove the job's plan, segments and leftovers; its result files stay."""
        self._disk.remove_folder(self.job_folder(job_id))


def _checked(name: str) -> str:
    """Ids reach us from URLs: one that could climb out of its folder must not become a path."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} can not name a blob: use letters, digits, '-' and '_'.")
    return name
