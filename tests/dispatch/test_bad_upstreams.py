"""Upstreams that break HTTP, one row each: the failure it is called, and how often it is tried.

Virtual time; the other requests of the job succeed throughout.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from overnight.dispatch.http1 import HEAD_BYTES_MAX
from overnight.domain.request import FailureKind
from support.bad_upstream import (
    REPLY_BYTES_MAX,
    REQUESTS,
    SECONDS_MAX,
    Dripping,
    answered,
    said,
    treated,
)
from support.fake_network import Drop, Raw, Reaction, Respond, Silence

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
BAD_REPLY, RESET, TIMEOUT, TOO_LARGE = (
    FailureKind.BAD_REPLY,
    FailureKind.RESET,
    FailureKind.TIMEOUT,
    FailureKind.TOO_LARGE,
)


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    reaction: Reaction
    code: FailureKind | None
    """None: it succeeds."""
    message: str
    tries: int


def row(
    name: str,
    reaction: Reaction,
    code: FailureKind | None = BAD_REPLY,
    message: str = "",
    tries: int | None = None,
) -> Row:
    return Row(name, reaction, code, message, tries or (5 if code else 1))


NOT_HTTP = "does not answer in HTTP/1.1"

ROWS = [
    # Time
    row("silence", Silence(), TIMEOUT, "did not send the reply in time"),
    row("half a head", said(b"HTTP/1.1 200 O"), TIMEOUT, "the rest of the reply in time"),
    row("half a body", said(OK + b"content-length: 9\r\n\r\n{"), TIMEOUT, "the rest"),
    row("no last chunk", said(CHUNKED + b"2\r\n{}\r\n"), TIMEOUT, "the rest"),
    # Ends
    # On a kept connection each is sent once more, for it may have been closed before.
    row("a closed connection", Drop(), RESET, "closed the connection without a reply", tries=10),
    row("a short body", said(OK + b"content-length: 9\r\n\r\n{}", close=True), RESET, "within"),
    row("no final chunk, closed", said(CHUNKED + b"2\r\n{}\r\n", close=True), RESET, "within"),
    row("only hints, closed", said(b"HTTP/1.1 103 Hint\r\n\r\n", close=True), RESET, "within"),
    # Lengths
    row("a negative length", said(OK + b"content-length: -1\r\n\r\n{}"), message=NOT_HTTP),
    row("a length in words", said(OK + b"content-length: two\r\n\r\n{}"), message=NOT_HTTP),
    row("an endless length", said(OK + b"content-length: " + b"9" * 30), message=NOT_HTTP),
    row(
        "two lengths",
        said(OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}"),
        message=NOT_HTTP,
    ),
    row(
        "the same length twice",
        said(OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}"),
        message=NOT_HTTP,
    ),
    row(
        "a length and chunks",
        said(OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
        message=NOT_HTTP,
    ),
    row("no length, closed", said(OK + b"\r\n{}", close=True), None),
    row("a body beyond its length", said(OK + b"content-length: 2\r\n\r\n{}junk"), None),
    # Chunks
    row("chunks of garbage", said(CHUNKED + b"zz\r\n{}\r\n"), message=NOT_HTTP),
    row("a chunk without size", said(CHUNKED + b"\r\n{}\r\n"), message=NOT_HTTP),
    row("a chunk larger than any", said(CHUNKED + b"f" * 17 + b"\r\n{}"), message=NOT_HTTP),
    row("a negative chunk", said(CHUNKED + b"-2\r\n{}\r\n"), message=NOT_HTTP),
    row("a chunk beyond its size", said(CHUNKED + b"2\r\n{}xx\r\n0\r\n\r\n"), message=NOT_HTTP),
    row("a spaced chunk size", said(CHUNKED + b"2 2\r\n{}\r\n0\r\n\r\n"), message=NOT_HTTP),
    # Heads
    row("a header without a colon", said(OK + b"nonsense\r\n\r\n"), message=NOT_HTTP),
    row("a NUL in a header", said(OK + b"a: \0\r\n\r\n"), message=NOT_HTTP),
    row("a space before a colon", said(OK + b"content-length : 2\r\n\r\n{}"), message=NOT_HTTP),
    row("a folded header", said(OK + b"content-length: 2\r\n 0\r\n\r\n{}"), message=NOT_HTTP),
    row("a status of words", said(b"HTTP/1.1 two hundred\r\n\r\n"), message=NOT_HTTP),
    row("a status of four digits", said(b"HTTP/1.1 2000 OK\r\n\r\n"), message=NOT_HTTP),
    row("a reply as in HTTP/0.9", said(b"<p>hello</p>\r\n", close=True), message=NOT_HTTP),
    row("HTTP/2", said(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), message=NOT_HTTP),
    row("frames of HTTP/2", said(b"\0\0\x12\x04\0\0\0\0\0\0\x03"), message=NOT_HTTP),
    row("HTTP/3.0", said(b"HTTP/3.0 200 OK\r\ncontent-length: 2\r\n\r\n{}"), message=NOT_HTTP),
    row("TLS", said(b"\x15\x03\x01\0\x02\x02\x46"), message=NOT_HTTP),
    row("SSH", said(b"SSH-2.0-OpenSSH_9.6\r\n"), message=NOT_HTTP),
    row(
        "101 to another protocol",
        said(b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"),
        message="switched to another protocol",
    ),
    row("101 to nothing", said(b"HTTP/1.1 101 Hm\r\n\r\n"), message=NOT_HTTP),
    # Odd, but right
    row("an upgrade on offer", answered(b"{}", b"upgrade: h2", b"connection: upgrade"), None),
    row("HTTP/1.0", said(b"HTTP/1.0 200 OK\r\n\r\n{}", close=True), None),
    row(
        "HTTP/1.0, kept alive",
        said(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\n{}"),
        None,
    ),
    row(
        "a few hints",
        said(b"HTTP/1.1 102 P\r\n\r\n" * 9 + OK + b"content-length: 2\r\n\r\n{}"),
        None,
    ),
    row(
        "a hint in two pieces, then a long thought",
        Raw(
            [
                (0.0, b"HTTP/1.1 103 Hi"),
                (0.1, b"nts\r\n\r\n"),
                (15.0, OK + b"content-length: 2\r\n\r\n{}"),
            ]
        ),
        None,
    ),
    row("trailers", said(CHUNKED + b"2\r\n{}\r\n0\r\nx-checksum: 1\r\n\r\n"), None),
    row("no reason phrase", said(b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\n{}"), None),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_breaks_http(row: Row) -> None:
    end = treated(row.reaction)
    assert (end.code, end.tries) == (row.code, row.tries)
    assert row.message in end.message
    assert end.others == REQUESTS - 1


@pytest.mark.parametrize("row", [row for row in ROWS if row.code], ids=lambda row: row.name)
def test_what_breaks_http_once_costs_one_more_try(row: Row) -> None:
    end = treated(row.reaction, Respond())
    assert (end.code, end.tries) == (None, 2)


ENDLESS: dict[str, tuple[Callable[[], Dripping], FailureKind, str]] = {
    "headers": (lambda: Dripping(OK, b"x-a: b\r\n" * 100), BAD_REPLY, "headers or trailers"),
    "a header line": (lambda: Dripping(OK + b"x: ", b"y" * 1_000), BAD_REPLY, "headers"),
    "a reason phrase": (lambda: Dripping(b"HTTP/1.1 200 ", b"O" * 1_000), BAD_REPLY, "headers"),
    "a header's name": (lambda: Dripping(OK, b"x" * 1_000), BAD_REPLY, "headers"),
    "hints": (lambda: Dripping(b"", b"HTTP/1.1 103 E\r\n\r\n" * 50), BAD_REPLY, "headers"),
    "trailers": (lambda: Dripping(CHUNKED + b"0\r\n", b"x-a: b\r\n" * 99), BAD_REPLY, "trailers"),
    "a trailer line": (
        lambda: Dripping(CHUNKED + b"0\r\nx: ", b"y" * 1_000), BAD_REPLY, "trailers",
    ),
    "a chunk extension": (
        lambda: Dripping(CHUNKED + b"2;x=", b"y" * 1_000), BAD_REPLY, "trailers",
    ),
    "a body without length": (lambda: Dripping(OK + b"\r\n", b"x" * 1_000), TOO_LARGE, "100,000"),
    "a body of a great length": (
        lambda: Dripping(OK + b"content-length: 999999999999\r\n\r\n", b"x" * 1_000),
        TOO_LARGE,
        "100,000",
    ),
    "chunks": (lambda: Dripping(CHUNKED, b"64\r\n" + b"x" * 100 + b"\r\n"), TOO_LARGE, "100,000"),
    "one chunk": (lambda: Dripping(CHUNKED + b"fffffffff\r\n", b"x" * 1_000), TOO_LARGE, ""),
    "spaces before the JSON": (lambda: Dripping(OK + b"\r\n", b" " * 1_000), TOO_LARGE, ""),
    "events": (
        lambda: Dripping(CHUNKED, b'14\r\ndata: {"choices":[]}\r\n'), TOO_LARGE, "100,000",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ENDLESS)
def test_what_never_ends_is_cut_off_by_its_size(what: str) -> None:
    make, code, message = ENDLESS[what]
    drippings = [make() for _ in range(5)]
    end = treated(*(Raw(dripping) for dripping in drippings))
    assert end.code == code
    assert message in end.message
    assert end.tries == (1 if code is TOO_LARGE else 5)
    for dripping in drippings[: end.tries]:
        assert dripping.bytes_taken < 1.4 * max(HEAD_BYTES_MAX, REPLY_BYTES_MAX)


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nx: ", b"y"),
        (OK + b"\r\n", b"x"),
        (OK + b"\r\n", b" "),
        (CHUNKED, b"1\r\nx\r\n"),
        (b"", b"HTTP/1.1 102 Wait\r\n\r\n"),
        (CHUNKED + b"0\r\n", b"a: b\r\n"),
    ],
    ids=["a header", "a body", "spaces", "chunks", "102", "trailers"],
)
def test_what_drips_too_slowly_to_be_idle_is_cut_off_by_the_time(
    start: bytes, piece: bytes
) -> None:
    end = treated(Raw(Dripping(start, piece, every_seconds=1.0)))
    assert (end.code, end.tries) == (TIMEOUT, 5)
    waits = [later - earlier for earlier, later in zip(end.seconds, end.seconds[1:], strict=False)]
    assert max(waits) < SECONDS_MAX + 8.1


def test_a_reply_may_drip_as_long_as_it_is_allowed_to() -> None:
    body = b'{"a":"%b"}' % (b"x" * 30)
    pieces = [(1.0, bytes([byte])) for byte in body]
    end = treated(Raw([(0.0, OK + b"content-length: %d\r\n\r\n" % len(body)), *pieces]))
    assert (end.code, end.tries) == (None, 1)
