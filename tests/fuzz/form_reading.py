"""Upload forms: a file that comes out is, byte for byte, what lies between the boundaries, with the
name its head gives; it does not depend on how the bytes arrive; and all else is refused."""

import re
from collections.abc import Coroutine
from email.message import Message
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request

from fuzz.target import Target, pieces
from overnight.api.forms import UploadForm, base_name, read_form
from overnight.domain.errors import CallerFault
from overnight.service.incoming import Incoming, SizeLimit

BOUNDARY: Final = b"bound"
LIMIT: Final = SizeLimit(500, "The file", "the limit is")
Outcome = tuple[UploadForm, bytes] | str


class _Kept(Incoming):
    """Keeps what comes in memory."""

    def __init__(self) -> None:
        self.data = b""

    async def write(self, data: bytes) -> None:
        self.data += data
        self.refuse_over_limit(len(self.data))

    def refuse_over_limit(self, announced_bytes: int) -> None:
        LIMIT.check(announced_bytes)


def check(data: bytes) -> None:
    sizes, body = data[:3], data[3:]
    whole, cut = _read([body]), _read(pieces(body, sizes))
    if body[:1] in (b"\r", b"\n") and type(whole) is not type(cut):
        # The parser passes over what follows an empty line up to the next dash of the piece.
        return
    if isinstance(whole, str) or isinstance(cut, str):
        # Which of two faults is told may depend on what was seen first.
        assert isinstance(whole, str), f"whole it is read, and in pieces {cut}"
        assert isinstance(cut, str), f"in pieces it is read, and whole {whole}"
        return
    assert whole == cut
    _compare(body, *whole)


def _read(received: list[bytes]) -> Outcome:
    """The form and its file, or the code of the refusal."""
    scope = {
        "type": "http",
        "method": "POST",
        "query_string": b"",
        "headers": [(b"content-type", b"multipart/form-data; boundary=" + BOUNDARY)],
    }
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in received]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    messages.reverse()

    async def receive() -> dict[str, Any]:
        return messages.pop()

    incoming = _Kept()
    try:
        form = _run(read_form(Request(scope, receive), incoming))
    except (CallerFault, HTTPException) as fault:
        return type(fault).__name__
    return form, incoming.data


def _run(work: Coroutine[Any, Any, UploadForm]) -> UploadForm:
    """To its end; nothing in it waits."""
    try:
        work.send(None)
    except StopIteration as ended:
        form: UploadForm = ended.value
        return form
    raise AssertionError("reading a form waits for something")


def _compare(body: bytes, form: UploadForm, data: bytes) -> None:
    parts = _parts(body)
    if any(_is_doubtful(head) for head, _ in parts):
        return
    files = [part for part in parts if _disposition(part[0], "name") == "file"]
    assert len(files) == (form.file_name is not None), f"{len(files)} files are one form's"
    for head, content in files:
        assert content == data, f"the file is {content!r}, read was {data!r}"
        named = _disposition(head, "filename")
        if named is not None and named.isascii() and '"' not in named and "\\" not in named:
            assert form.file_name == (base_name(named) or "upload")
    name = form.file_name or ""
    assert "/" not in name
    assert "\\" not in name
    # Longer names are cut, and told so in errors alone.
    plain = {(_disposition(head, "name") or "")[:80]: content for head, content in parts}
    for field, value in form.fields.items():
        if field.isascii() and field.isalnum():
            assert plain[field].decode("utf-8", "replace") == value, field


def _parts(body: bytes) -> list[tuple[bytes, bytes]]:
    """RFC 2046, 5.1.1: what lies between two boundaries is a head, an empty line and bytes."""
    found = []
    if body[:1] in (b"\r", b"\n"):
        body = body[body.find(b"-") :]
    # A line that only begins like a boundary is none, and part of the bytes.
    for part in re.split(b"\r\n--" + BOUNDARY + b"(?=\r\n|--)", b"\r\n" + body)[1:]:
        if part.startswith(b"--"):
            break
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if part.startswith(b"\r\n\r\n"):
            head, content = b"", part[4:]
        found.append((head, content))
    return found


def _is_doubtful(head: bytes) -> bool:
    """Readers differ on a parameter that is there twice, and on line feeds that end no line."""
    lines = head.lower().split(b"\r\n")
    names = [line.replace(b"filename", b"file").count(b"name") for line in lines]
    return max(names) > 1 or any(line.count(b"filename") > 1 or b"\n" in line for line in lines)


def _disposition(head: bytes, parameter: str) -> str | None:
    """As the standard library reads it; of a header that is there twice the last one counts."""
    message = Message()
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-disposition":
            del message["content-disposition"]
            message["content-disposition"] = value.decode("latin-1").strip(" ")
    found = message.get_param(parameter, None, "content-disposition")
    return found if isinstance(found, str) else None


def _head(name: bytes, more: bytes = b"") -> bytes:
    return b'Content-Disposition: form-data; name="' + name + b'"' + more + b"\r\n"


TARGET: Final = Target(
    "form_reading",
    check,
    words=(
        b"--bound\r\n",
        b"\r\n--bound\r\n",
        b"\r\n--bound--\r\n",
        b"\r\n--boun",
        _head(b"file", b'; filename="in.jsonl"') + b"\r\n",
        _head(b"purpose") + b"\r\nbatch",
        _head(b"file"),
        b"; filename*=UTF-8''%2e%2e",
        b'; filename="../../etc/passwd"',
        b'; filename="a\\"b"',
        b'; filename="C:\\\\a\\\\b.txt"',
        b"Content-Type: application/octet-stream\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"\r\n\r\n",
        b"\r\n ",
        b"preamble\r\n",
    ),
    bytes_max=1_024,
)
