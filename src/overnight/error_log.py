"""The newest warnings and errors of all processes, beside the data: `log/errors.jsonl`.

For `overnight doctor` and for people; nothing of the service reads it. Two files of about a MiB
each, the older one renamed: whatever goes wrong how often, it fills no disk. And it never makes
anything worse: what can not be written is left out, and nobody waits for anybody.
"""

import fcntl
import json
import os
import traceback
from collections.abc import MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

FILE_BYTES_MAX: Final = 1024 * 1024
_TEXT_CHARS_MAX: Final = 8_000
_LEVELS: Final = frozenset({"warning", "error", "critical"})


def error_log_path(data_dir: Path) -> Path:
    return data_dir / "log" / "errors.jsonl"


def _older(path: Path) -> Path:
    return path.with_name("errors.1.jsonl")


class ErrorLog:
    """A processor for structlog: keeps a copy of what is a warning or worse."""

    def __init__(self, data_dir: Path) -> None:
        self._path = error_log_path(data_dir)

    def __call__(
        self, _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        if event.get("level") in _LEVELS:
            record = {name: _short(value) for name, value in event.items() if name != "exc_info"}
            if isinstance(error := event.get("exc_info"), tuple) and error[0]:
                record["exception"] = _short("".join(traceback.format_exception(*error)), end=True)
            with suppress(OSError):
                self._append(json.dumps(record, default=str).encode() + b"\n")
        return event

    def tell(self, event: str, role: str) -> None:
        """For a process without structlog."""
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        record = {"timestamp": now, "level": "warning", "event": event, "role": role}
        self(None, "warning", record | {"pid": os.getpid()})

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        file = os.open(self._path, flags, 0o600)
        try:
            # One write to the end: lines of several processes do not mix.
            os.write(file, line)
            if os.fstat(file).st_size >= FILE_BYTES_MAX:
                self._rotate(file)
        finally:
            os.close(file)

    def _rotate(self, file: int) -> None:
        """Of several processes that find it full, one renames it."""
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file), self._path.stat()):
            self._path.replace(_older(self._path))


def _short(value: object, *, end: bool = False) -> object:
    """The last line of a traceback says most; of other texts the first one does."""
    if not isinstance(value, str) or len(value) <= _TEXT_CHARS_MAX:
        return value
    return f"…{value[-_TEXT_CHARS_MAX:]}" if end else f"{value[:_TEXT_CHARS_MAX]}…"


def newest_errors(data_dir: Path, limit: int) -> list[dict[str, Any]]:
    """The newest records, the newest first. Raises `OSError`, but for a log that is not there."""
    records: list[dict[str, Any]] = []
    for path in (error_log_path(data_dir), _older(error_log_path(data_dir))):
        lines: list[bytes] = []
        with suppress(FileNotFoundError):
            lines = path.read_bytes().splitlines()
        for line in reversed(lines):
            if len(records) == limit:
                return records
            # A full disk leaves torn lines.
            with suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict):
                    records.append(record)
    return records
