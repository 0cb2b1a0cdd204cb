"""A data folder with jobs that have ended, as a service of some months has them."""

import random
import time
from pathlib import Path

from sqlalchemy import insert

from overnight.domain.job import JobStatus
from overnight.store.database import open_engine
from overnight.store.migrate import migrate
from overnight.store.tables import files, job_log, jobs

DAYS = 60
ENDS = [JobStatus.COMPLETED] * 18 + [JobStatus.FAILED, JobStatus.CANCELLED]


def add_old_jobs(folder: Path, count: int) -> None:
    """As rows alone: nobody asks for their files."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "overnight.sqlite3"
    migrate(path)
    dice = random.Random(0)
    begun = sorted(time.time() - dice.uniform(60, DAYS * 86_400) for _ in range(count))
    engine = open_engine(path)
    with engine.begin() as tx:
        made = [(f"{number:024x}", at, dice.choice(ENDS)) for number, at in enumerate(begun)]
        tx.execute(insert(jobs), [_job(*one) for one in made])
        tx.execute(insert(files), [_file(*one[:2]) for one in made])
        tx.execute(insert(job_log), [row for one in made for row in _log(*one)])
    engine.dispose()


def _job(digits: str, at: float, status: JobStatus) -> dict[str, object]:
    return {
        "id": f"batch_{digits}",
        "tenant": "local",
        "endpoint": "/v1/chat/completions",
        "input_file_id": f"file-{digits}",
        "input_bytes": 300_000,
        "line_rules": "openai",
        "status": status.value,
        "created_at": at,
        "deadline": at + 86_400,
        "completion_window": "24h",
        "metadata": '{"run":"nightly"}',
        "model": "sim",
        "priority": 0,
        "total": 1_000,
        "succeeded": 1_000,
        "failed": 0,
        "prompt_tokens": 48_000,
        "completion_tokens": 96_000,
        "faults": "[]",
        "clerk_epoch": 2,
        "last_served_at": at + 1,
    }


def _file(digits: str, at: float) -> dict[str, object]:
    return {
        "id": f"file-{digits}",
        "tenant": "local",
        "name": "input.jsonl",
        "purpose": "batch",
        "bytes": 300_000,
        "created_at": at - 1,
        "status": "ready",
    }


def _log(digits: str, at: float, status: JobStatus) -> list[dict[str, object]]:
    states = ["validating", "in_progress", "finalizing", status.value]
    return [
        {
            "job_id": f"batch_{digits}",
            "event": "created" if number == 0 else "moved",
            "from_status": states[number - 1] if number else None,
            "to_status": state,
            "at": at + number,
            "why": "",
        }
        for number, state in enumerate(states)
    ]
