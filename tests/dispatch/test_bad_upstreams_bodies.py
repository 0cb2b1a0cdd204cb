"""Replies that are sound HTTP and no answer: what they are called, and how often they are tried."""

import json
import zlib
from dataclasses import dataclass

import pytest

from overnight.dispatch.reply import retry_after_seconds
from overnight.domain.request import FailureKind
from support.bad_upstream import REQUESTS, answered, said, treated
from support.fake_network import Raw, Respond

BAD_REPLY, STATUS = FailureKind.BAD_REPLY, FailureKind.STATUS
NO_OBJECT = "with a body that is not a JSON object"


def gzipped(body: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


BOMB = gzipped(b"0" * 20_000_000)


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    reply: Raw
    code: FailureKind | None
    """None: it succeeds."""
    message: str
    tries: int


def row(
    name: str,
    reply: bytes | Raw,
    message: str | None,
    code: FailureKind = BAD_REPLY,
    tries: int | None = None,
) -> Row:
    """Without a message it succeeds."""
    raw = answered(reply) if isinstance(reply, bytes) else reply
    failed = None if message is None else code
    return Row(name, raw, failed, message or "", tries or (5 if failed else 1))


def content(inner: bytes) -> bytes:
    return b'{"choices":[{"message":{"content":"' + inner + b'"}}]}'


ROWS = [
    # No JSON
    row("nothing", b"", "200 with an empty body."),
    row("spaces", b" \r\n ", "200 with an empty body."),
    row("204", said(b"HTTP/1.1 204 No Content\r\n\r\n"), "204 with an empty body."),
    row("no JSON", b"ok", NO_OBJECT),
    row("half an object", b'{"a":', NO_OBJECT),
    row("half a string", b'{"a":"b', NO_OBJECT),
    row("half an escape", b'{"a":"\\u12', NO_OBJECT),
    row("two objects", b"{}{}", NO_OBJECT),
    row("words behind it", b"{} ok", NO_OBJECT),
    row("a list", b"[]", NO_OBJECT),
    row("a string", b'"ok"', NO_OBJECT),
    row("null", b"null", NO_OBJECT),
    row("NaN", b'{"a":NaN}', NO_OBJECT),
    row("Python", b"{'a':True}", NO_OBJECT),
    row("a comma too many", b'{"a":1,}', NO_OBJECT),
    row("a comment", b"{/* */}", NO_OBJECT),
    row("a NUL behind it", b"{}\0", NO_OBJECT),
    row("a NUL in a string", content(b"\0"), NO_OBJECT),
    row("a line break in a string", content(b"a\nb"), NO_OBJECT),
    row("a page", b"\n<!doctype html><h1>Sign in</h1>", "200 with a page of HTML or XML."),
    row("a stream of events", b'data: {"a":1}\n\ndata: [DONE]\n\n', "a stream of events"),
    # Not UTF-8
    row("Latin-1", content(b"caf\xe9"), NO_OBJECT),
    row("UTF-16", content(b"a").decode().encode("utf-16"), NO_OBJECT),
    row("a byte too few", content(b"\xe2\x82"), NO_OBJECT),
    row("an overlong character", content(b"\xc0\x80"), NO_OBJECT),
    row("a surrogate in UTF-8", content(b"\xed\xa0\x80"), NO_OBJECT),
    row("half a surrogate pair", content(b"\\ud83d and on it goes"), NO_OBJECT),
    row("a charset of its own", answered(b'{"a":1}', b"content-type: text/plain; charset=x"), None),
    row("a byte order mark", b'\xef\xbb\xbf{"a":1}', None),
    row("a byte order mark and no more", b"\xef\xbb\xbf", "an empty body"),
    # Deep, odd, large
    row("100,000 lists", b'{"a":' + b"[" * 49_000 + b"]" * 49_000 + b"}", NO_OBJECT),
    row("lists without end", b"[" * 90_000, NO_OBJECT),
    row("objects without end", b'{"a":' * 19_000, NO_OBJECT),
    row("900 lists", b'{"a":' + b"[" * 900 + b"]" * 900 + b"}", None),
    row("a key twice", b'{"a":1,"a":2}', None),
    row("usage twice", b'{"usage":{"prompt_tokens":1},"usage":{"prompt_tokens":2}}', None),
    # Compressed
    row("gzip", answered(gzipped(b"{}"), b"content-encoding: gzip"), "compressed as gzip"),
    row("gzip that does not say so", gzipped(b"{}"), "compressed body"),
    row("a bomb", answered(BOMB, b"content-encoding: gzip"), "compressed as gzip"),
    row("deflate", answered(zlib.compress(b"{}"), b"Content-Encoding: deflate"), "as deflate"),
    row("brotli", answered(b"\x0b\x00\x80{}\x03", b"content-encoding: br"), "compressed as br"),
    row("identity", answered(b"{}", b"content-encoding: identity"), None),
    row("brotli that is none", answered(b"{}", b"content-encoding: br"), None),
    # Errors
    row("an error inside", b'{"error":{"message":"boom"}}', "200 with an error inside: boom"),
    row("an error in a word", b'{"error":"boom"}', "200 with an error inside: boom"),
    row("an error in numbers", b'{"error":{"code":502}}', "200 with an error inside."),
    row("an error and odd usage", b'{"error":"boom","usage":7}', "an error inside: boom"),
    row("no error", b'{"error":null,"id":"resp_1"}', None),
    row("an empty error", b'{"error":{},"id":"resp_1"}', None),
    row("no error and odd usage", b'{"error":null,"usage":7}', None),
    row("400", answered(b'{"error":{"message":"no"}}', status=b"400 B"), "400: no", STATUS, 1),
    row("413", answered(b"", status=b"413 T"), "413.", STATUS, 1),
    row("418 with a page", answered(b"<html>", status=b"418 T"), "418 with a page", STATUS, 1),
    row("500 with a page", answered(b"<html>", status=b"500 E"), "500 with a page", STATUS),
    row("502 with a page", answered(b"<html>", status=b"502 B"), "502 with a page", STATUS),
    row("504", answered(b"", status=b"504 T"), "answered 504.", STATUS),
    row("501", answered(b"", status=b"501 N"), "answered 501.", STATUS, 1),
    row("600", answered(b"", status=b"600 ?"), "answered 600.", STATUS),
    row("an error cut short", answered(b'{"error":{"mess', status=b"500 E"), "500.", STATUS),
    row("an error of lists", answered(b"[" * 90_000, status=b"400 B"), "answered 400.", STATUS, 1),
    row(
        "a compressed error",
        answered(gzipped(b"{}"), b"content-encoding: gzip", status=b"400 B"),
        "400 with a body compressed as gzip",
        STATUS,
        1,
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_is_no_answer(row: Row) -> None:
    end = treated(row.reply)
    assert (end.code, end.tries) == (row.code, row.tries)
    assert row.message in end.message
    assert end.others == REQUESTS - 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    there = answered(b"", b"location: http://elsewhere/v1", status=b"%d Moved" % status)
    end = treated(there)
    assert (end.code, end.tries) == (STATUS, 1)
    assert (
        end.message
        == f"The upstream answered {status}, a redirect, and redirects are not followed."
    )


def test_an_error_line_keeps_what_came() -> None:
    end = treated(answered(b"<html>\xff</html>", b"x-request-id: r7"))
    assert end.line["response"] == {
        "status_code": 200, "request_id": "r7", "body": "<html>\ufffd</html>",
    }  # fmt: skip


def test_an_answer_that_came_at_last_is_kept_as_it_is() -> None:
    body = b'{"error":null,"text":"\\u00e9\xc3\xa9\\u2028","a":1e999,"a":[0.10]}'
    end = treated(Respond(200, b""), Respond(200, b"\xef\xbb\xbf" + body))
    assert end.tries == 2
    assert end.line["response"]["body"] == json.loads(body)


# 429


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("7.5", 7.5),
        ("0", 0.0),
        ("-5", 0.0),
        ("-inf", 0.0),
        ("nan", 0.0),
        ("1000000000", 3_600.0),
        ("9" * 400, 3_600.0),
        ("inf", 3_600.0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 1.0),
        ("Wed, 21 Oct 1999 07:28:00 GMT", 1.0),
        ("soon", 1.0),
        ("5, 9", 1.0),
        ("0x10", 1.0),
        ("\u00b2", 1.0),
    ],
)
def test_a_rest_is_asked_for_in_many_ways(value: str, seconds: float) -> None:
    assert retry_after_seconds(value.encode("latin-1")) == seconds


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("value", "least", "most"), [(b"7", 7.0, 8.8), (b"-1", 1.0, 1.3), (b"300", 300.0, 376.0)]
)
def test_the_rest_that_is_asked_for_is_given_within_reason(
    status: int, value: bytes, least: float, most: float
) -> None:
    later = answered(b"", b"retry-after: " + value, status=b"%d Later" % status)
    end = treated(later, Respond())
    assert (end.code, end.tries) == (None, 2)
    first, second = end.seconds
    assert least <= second - first <= most + 1.1  # while another request is under way


def test_a_429_that_asks_for_no_rest_costs_nothing_however_often_it_comes() -> None:
    end = treated(*[answered(b"", status=b"429 Later")] * 12, Respond())
    assert (end.code, end.tries) == (None, 13)
