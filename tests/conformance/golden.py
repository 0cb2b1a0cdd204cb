"""Exchanges with a service, written down for people, and so that two runs give the same text.

What chance, the clock and the machine decide is replaced: ids are numbered in the order in which
they come, times and signatures are named.
"""

import http.client
import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

HEADERS_TOLD: Final = (
    "content-type",
    "content-disposition",
    "content-range",
    "etag",
    "location",
    "www-authenticate",
    "x-should-retry",
    "x-together-file-id",
)
WAIT_SECONDS: Final = 60
BOUNDARY: Final = "boundary"
_IDS: Final = re.compile(
    r"\b(file-|batch_req_|batch_|upload_|upload-|part_|part-|req_|chatcmpl-|cmpl-|mpu_)([0-9a-f]{8,})"
)
_OTHERS: Final = (
    (re.compile(r"\b1[6-9]\d{8}\b"), "TIME"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"http://127\.0\.0\.1:\d+"), "http://HOST"),
    (re.compile(r"\b[0-9a-f]{32,}\b"), "HASH"),
)


class Recorder:
    """Asks, and keeps what was asked and answered."""

    def __init__(self, base_url: str, headers: Mapping[str, str]) -> None:
        self._host = base_url.removeprefix("http://")
        self._headers = dict(headers)
        self._parts: list[str] = []
        self._ids: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    @property
    def text(self) -> str:
        return "\n".join(self._parts)

    def ask(
        self, title: str, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[dict[str, str], Any]:
        """The answer's headers and its JSON (or bytes), recorded under a title.

        A header that is empty is one that is not sent.
        """
        named = self._headers | {name.replace("_", "-"): told for name, told in headers.items()}
        named = {name: value for name, value in named.items() if value}
        status, told, answer = self._sent(method, path, body, named)
        shown = {name: value for name, value in told.items() if name in HEADERS_TOLD}
        self._parts.append(
            f"## {title}\n\n"
            + self._quoted(">", [f"{method} {path}"], named, body)
            + "\n"
            + self._quoted("<", [str(status)], shown, answer)
        )
        is_json = told.get("content-type", "").startswith("application/json")
        return told, json.loads(answer) if is_json else answer

    def post(self, title: str, path: str, body: object = None, **headers: str) -> Any:
        """`ask` with a JSON body; its JSON."""
        data = b"" if body is None else json.dumps(body).encode()
        named = {"content_type": "application/json"} if data else {}
        return self.ask(title, "POST", path, data, **named, **headers)[1]

    def form(self, title: str, path: str, fields: Mapping[str, str], **file: bytes) -> Any:
        """`ask` with a multipart form: fields, then a part `NAME=its bytes`."""
        parts = [f'name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
        parts += [
            f'name="{name}"; filename="in.jsonl"\r\n\r\n'.encode() + data
            for name, data in file.items()
        ]
        begin = f"--{BOUNDARY}\r\nContent-Disposition: form-data; ".encode()
        body = b"".join(begin + part + b"\r\n" for part in parts) + f"--{BOUNDARY}--\r\n".encode()
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        return self.ask(title, "POST", path, body, content_type=kind)

    def until(self, path: str, statuses: set[str]) -> None:
        """Ask without a record until the object has one of these statuses."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            status = json.loads(self._sent("GET", path, b"", self._headers)[2])["status"]
            if status in statuses:
                return
            assert time.monotonic() < deadline, f"{path} is {status}, not {statuses}"
            time.sleep(0.05)

    def _sent(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self._host, timeout=60)
        try:
            connection.request(method, path, body or None, dict(headers))
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, told, answer.read()
        finally:
            connection.close()

    def _quoted(self, mark: str, lines: list[str], headers: Mapping[str, str], body: bytes) -> str:
        lines = lines + [f"{name}: {value}" for name, value in sorted(headers.items())]
        if body:
            is_json = headers.get("content-type", "").startswith("application/json")
            lines += ["", *_readable(body, is_json)]
        text = self._same_each_time("\n".join(lines))
        return "".join(f"{mark} {line}".rstrip() + "\n" for line in text.split("\n"))

    def _same_each_time(self, text: str) -> str:
        text = _IDS.sub(self._numbered, text)
        for pattern, name in _OTHERS:
            text = pattern.sub(name, text)
        return text

    def _numbered(self, found: re.Match[str]) -> str:
        kind = found[1]
        if found[0] not in self._ids:
            self._counts[kind] += 1
            self._ids[found[0]] = f"{kind}{self._counts[kind]}"
        return self._ids[found[0]]


def _readable(body: bytes, is_json: bool) -> list[str]:
    text = body.decode().replace("\r\n", "\n").rstrip("\n")
    if is_json:
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return text.split("\n")


def compare(path: Path, text: str, rewrite: bool) -> None:
    """Raises `AssertionError` where the file says something else; or writes it."""
    if rewrite:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), (
        f"{path.name} tells of other exchanges; if these are right:"
        " REWRITE_GOLDEN=1 make test ARGS=tests/conformance/test_golden.py"
    )
