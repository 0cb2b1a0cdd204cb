"""Downloads from servers that cut, lie and forget."""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from overnight.client.errors import BadReply, ClientError, Unreachable
from support.client import Waits, client_of
from support.scripted import CLOSE, RESET, Received, Steps, reply, reply_json
from support.scripted_thread import scripted

DATA = bytes(range(256)) * 40
PART = "out.jsonl.file-1.part"


def part_of(data: bytes, start: int, stop: int | None = None, *, total: int | None = None) -> Steps:
    body = data[start:stop]
    last = start + len(body) - 1
    span = f"bytes {start}-{last}/{len(data) if total is None else total}"
    return reply(206, body, content_range=span)


def cut(steps: Steps, after: int) -> Steps:
    """The reply without its last bytes, then the end of the connection."""
    (whole,) = steps
    assert isinstance(whole, bytes)
    return [whole[: whole.index(b"\r\n\r\n") + 4 + after], CLOSE]


def ranged(request: Received) -> Steps:
    """An honest server."""
    asked = request.headers.get("range")
    if asked is None:
        return reply(200, DATA)
    return part_of(DATA, int(asked.removeprefix("bytes=").removesuffix("-")))


def fetch(script: Sequence[Steps], folder: Path) -> tuple[list[str | None], Waits]:
    """The ranges asked for; checks that what came is right and stands alone."""
    waits = Waits()
    with scripted(script) as server, client_of(server.base_url, waits=waits) as client:
        assert client.download("file-1", folder / "out.jsonl") == len(DATA)
    assert (folder / "out.jsonl").read_bytes() == DATA
    assert [path.name for path in folder.iterdir()] == ["out.jsonl"]
    return [request.headers.get("range") for request in server.requests], waits


def test_a_cut_connection_is_taken_up_again(tmp_path: Path) -> None:
    whole = reply(200, DATA)
    ranges, waits = fetch(
        [cut(whole, 1000), cut(part_of(DATA, 999), 501), part_of(DATA, 1499)], tmp_path
    )
    assert ranges == [None, "bytes=999-", "bytes=1499-"]
    assert waits.seconds == [0.5, 0.5]


def test_a_server_without_ranges_sends_it_all_again(tmp_path: Path) -> None:
    whole = reply(200, DATA)
    ranges, _ = fetch([cut(whole, 1000), whole], tmp_path)
    assert ranges == [None, "bytes=999-"]


@pytest.mark.parametrize(
    "wrong",
    [
        part_of(DATA, 0),
        reply(206, DATA[999:], content_range="bytes 999-"),
        reply(206, DATA[999:]),
        reply(416, b"{}", content_range=f"bytes */{len(DATA)}"),
    ],
    ids=["another range", "no total", "no range", "416"],
)
def test_a_range_that_was_not_asked_for_is_not_believed(tmp_path: Path, wrong: Steps) -> None:
    whole = reply(200, DATA)
    ranges, _ = fetch([cut(whole, 1000), wrong, whole], tmp_path)
    assert ranges == [None, "bytes=999-", None]


def test_a_short_range_is_followed_by_the_rest(tmp_path: Path) -> None:
    ranges, _ = fetch(
        [cut(reply(200, DATA), 1000), part_of(DATA, 999, 3000), part_of(DATA, 2999)], tmp_path
    )
    assert ranges[1:] == ["bytes=999-", "bytes=2999-"]


def test_a_total_that_is_wrong_is_never_put_into_place(tmp_path: Path) -> None:
    lie = [cut(reply(200, DATA), 1000), part_of(DATA, 999, total=len(DATA) + 5)]
    with (
        scripted(lie) as server,
        client_of(server.base_url) as client,
        pytest.raises(ClientError),
    ):
        client.download("file-1", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_a_server_that_brings_nothing_new_is_given_up_and_what_came_is_kept(tmp_path: Path) -> None:
    waits = Waits()
    with (
        scripted([cut(reply(200, DATA), 1000), cut(part_of(DATA, 999), 0)]) as server,
        client_of(server.base_url, waits=waits) as client,
        pytest.raises(Unreachable, match="cut the connection"),
    ):
        client.download("file-1", tmp_path / "out.jsonl")
    assert (tmp_path / PART).read_bytes() == DATA[:1000]
    assert not (tmp_path / "out.jsonl").exists()
    assert waits.seconds == [0.5, 1.0, 2.0]

    with scripted(ranged) as server, client_of(server.base_url) as client:
        client.download("file-1", tmp_path / "out.jsonl")
        assert server.requests[0].headers["range"] == "bytes=999-"
    assert (tmp_path / "out.jsonl").read_bytes() == DATA


def test_beginning_anew_is_nothing_new(tmp_path: Path) -> None:
    """A server that always cuts at the same place, behind a proxy that spoils ranges."""
    halves = [cut(reply(200, DATA), 1000), part_of(DATA, 0)]
    waits = Waits()
    with (
        scripted(4 * halves) as server,
        client_of(server.base_url, waits=waits) as client,
        pytest.raises(Unreachable),
    ):
        client.download("file-1", tmp_path / "out.jsonl")
    assert waits.seconds == [0.5, 1.0, 2.0]


def test_a_reset_before_anything_came_is_tried_again(tmp_path: Path) -> None:
    ranges, _ = fetch([[RESET], reply(200, DATA)], tmp_path)
    assert ranges == [None, None]


def test_an_older_target_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_bytes(b"old")
    with (
        scripted([cut(reply(200, DATA), 10), cut(part_of(DATA, 9), 0)]) as server,
        client_of(server.base_url) as client,
        pytest.raises(Unreachable),
    ):
        client.download("file-1", target)
    assert target.read_bytes() == b"old"


def test_no_total_is_told_where_there_is_none(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    seen: list[tuple[int, int | None]] = []
    with (
        scripted([[head, b"5\r\nhello\r\n", b"0\r\n\r\n"]]) as server,
        client_of(server.base_url) as client,
    ):
        client.download("file-1", tmp_path / "o", on_bytes=lambda *now: seen.append(now))
    assert seen == [(0, None), (5, None)]


def test_a_redirect_is_followed_without_the_key(tmp_path: Path) -> None:
    with scripted(ranged) as storage:
        moved = reply(302, b"", location=f"http://localhost:{storage.port}/bucket?sign=1")
        with (
            scripted([moved]) as server,
            client_of(server.base_url, api_key="secret") as client,
        ):
            client.download("file-1", tmp_path / "out.jsonl")
    assert server.requests[0].headers["authorization"] == "Bearer secret"
    assert "authorization" not in storage.requests[0].headers
    assert (tmp_path / "out.jsonl").read_bytes() == DATA


@pytest.mark.parametrize(
    "header", ["content-type: text/html", "content-encoding: gzip"], ids=["a page", "compressed"]
)
def test_what_is_not_the_file_is_not_saved(tmp_path: Path, header: str) -> None:
    page = f"HTTP/1.1 200 OK\r\n{header}\r\ncontent-length: 6\r\n\r\n<html>".encode()
    with (
        scripted([[page]]) as server,
        client_of(server.base_url) as client,
        pytest.raises(BadReply),
    ):
        client.download("file-1", tmp_path / "out.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_two_downloads_of_one_file_do_not_mix(tmp_path: Path) -> None:
    with (tmp_path / PART).open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with (
            scripted(ranged) as server,
            client_of(server.base_url) as client,
            pytest.raises(ClientError, match="another download"),
        ):
            client.download("file-1", tmp_path / "out.jsonl")
    assert server.requests == []


@pytest.mark.parametrize(
    ("target", "why"), [(".", "is not a plain file"), ("no/out", "is no folder")]
)
def test_a_target_that_can_not_be_is_refused_before_anything_is_sent(
    tmp_path: Path, target: str, why: str
) -> None:
    with (
        scripted(ranged) as server,
        client_of(server.base_url) as client,
        pytest.raises(ClientError, match=why),
    ):
        client.download("file-1", tmp_path / target)
    assert server.requests == []


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (
        scripted(ranged) as server,
        client_of(server.base_url) as client,
        pytest.raises(ClientError, match="is not a plain file"),
    ):
        client.download("file-1", tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
    assert server.requests == []


def test_an_id_is_only_ever_one_part_of_a_path() -> None:
    with scripted([reply_json({"id": "x"})]) as server, client_of(server.base_url) as client:
        client.file("a/../b?c")
        for nothing in ("", "..", "."):
            with pytest.raises(ClientError, match="id"):
                client.file(nothing)
    assert [request.target for request in server.requests] == ["/v1/files/a%2F..%2Fb%3Fc"]
