"""OpenAI's uploads in parts, over a socket, on a real store."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from overnight.service.files import FilesOptions
from support.api_server import ApiServer, Reply

PARTS = [b"one\n" * 3, b"two\n", b"three\n" * 5]
WHOLE = b"".join(PARTS)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with ApiServer(tmp_path) as running:
        yield running


def create(server: ApiServer, size: int = len(WHOLE), **changes: object) -> str:
    wish = {"bytes": size, "filename": "in.jsonl", "mime_type": "text/jsonl", "purpose": "batch"}
    reply = server.post_json("/v1/uploads", wish | changes)
    assert reply.status == 200, reply
    assert (reply.at("object"), reply.at("status"), reply.at("file")) == ("upload", "pending", None)
    return str(reply.at("id"))


def add_part(server: ApiServer, upload_id: str, data: bytes) -> Reply:
    head = b'--b\r\nContent-Disposition: form-data; name="data"; filename="upload"\r\n\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    body = head + data + b"\r\n--b--\r\n"
    return server.ask("POST", f"/v1/uploads/{upload_id}/parts", body, headers)


def complete(server: ApiServer, upload_id: str, part_ids: list[str], **more: str) -> Reply:
    return server.post_json(f"/v1/uploads/{upload_id}/complete", {"part_ids": part_ids} | more)


def send_all(server: ApiServer, upload_id: str) -> list[str]:
    """The ids in the order of `PARTS`; the last is sent first."""
    ids = [str(add_part(server, upload_id, data).at("id")) for data in reversed(PARTS)]
    return ids[::-1]


def test_parts_become_a_file_in_the_order_of_their_ids(server: ApiServer) -> None:
    upload_id = create(server)
    part_ids = send_all(server, upload_id)
    md5 = hashlib.md5(WHOLE, usedforsecurity=False).hexdigest()
    done = complete(server, upload_id, part_ids, md5=md5)
    assert (done.status, done.at("status")) == (200, "completed")
    assert done.at("file", "object") == "file"
    assert (done.at("file", "bytes"), done.at("file", "filename")) == (len(WHOLE), "in.jsonl")
    file_id = done.at("file", "id")
    assert server.ask("GET", f"/v1/files/{file_id}/content").body == WHOLE
    # A client that lost the answer asks again, and gets it.
    assert complete(server, upload_id, part_ids, md5=md5).json() == done.json()
    assert server.ask("GET", f"/v1/uploads/{upload_id}").json() == done.json()
    assert server.ask("GET", "/v1/files").at("data", 0, "id") == file_id
    job = {"input_file_id": file_id, "endpoint": "/v1/chat/completions"}
    assert server.post_json("/v1/batches", job).status == 200


def test_a_part_is_described(server: ApiServer) -> None:
    upload_id = create(server)
    part = add_part(server, upload_id, PARTS[0])
    assert part.at("object") == "upload.part"
    assert part.at("upload_id") == upload_id
    assert isinstance(part.at("created_at"), int)


def test_parts_may_come_side_by_side_and_completions_too(server: ApiServer) -> None:
    data = [bytes([number]) * 300_000 for number in range(8)]
    upload_id = create(server, size=8 * 300_000)
    replies: dict[int, Reply] = {}

    def together(jobs: list[threading.Thread]) -> None:
        for job in jobs:
            job.start()
        for job in jobs:
            job.join(30)

    def send(number: int) -> None:
        replies[number] = add_part(server, upload_id, data[number])

    together([threading.Thread(target=send, args=(number,)) for number in range(8)])
    ids = [str(replies[number].at("id")) for number in range(8)]

    def finish(number: int) -> None:
        replies[number] = complete(server, upload_id, ids)

    together([threading.Thread(target=finish, args=(number,)) for number in range(4)])
    file_ids = {replies[number].at("file", "id") for number in range(4)}
    assert len(file_ids) == 1
    assert server.ask("GET", f"/v1/files/{file_ids.pop()}/content").body == b"".join(data)


@pytest.mark.parametrize(
    ("order", "more", "code", "param"),
    [
        ([0, 1], {}, "size_mismatch", "bytes"),
        ([0, 1, 1, 2], {}, "invalid_value", "part_ids"),
        ([2, 1, 0], {"md5": "0" * 32}, "checksum_mismatch", "md5"),
    ],
)
def test_a_wrong_completion_is_refused_and_may_be_mended(
    server: ApiServer, order: list[int], more: dict[str, str], code: str, param: str
) -> None:
    upload_id = create(server)
    ids = send_all(server, upload_id)
    refused = complete(server, upload_id, [ids[place] for place in order], **more)
    assert refused.status == 400
    assert (refused.at("error", "code"), refused.at("error", "param")) == (code, param)
    assert complete(server, upload_id, ids).at("status") == "completed"


def test_a_part_of_another_upload_is_none_of_this(server: ApiServer) -> None:
    first, second = create(server), create(server)
    foreign = send_all(server, second)
    refused = complete(server, first, foreign)
    assert (refused.status, refused.at("error", "param")) == (400, "part_ids")


def test_more_than_announced_is_refused(server: ApiServer) -> None:
    upload_id = create(server, size=10)
    assert add_part(server, upload_id, b"x" * 8).status == 200
    refused = add_part(server, upload_id, b"x" * 3)
    assert (refused.status, refused.at("error", "code")) == (413, "file_too_large")
    assert "of the 10 announced for the upload are left 2" in str(refused.at("error", "message"))
    assert list((server.folder / "incoming").iterdir()) == []
    assert add_part(server, upload_id, b"x" * 2).status == 200


def test_cancelling_ends_it_and_may_be_repeated(server: ApiServer) -> None:
    upload_id = create(server)
    ids = send_all(server, upload_id)
    for _ in range(2):
        empty = {"content-type": "application/json"}
        reply = server.ask("POST", f"/v1/uploads/{upload_id}/cancel", None, empty)
        assert (reply.status, reply.at("status")) == (200, "cancelled")
    for refused in (complete(server, upload_id, ids), add_part(server, upload_id, b"x")):
        assert (refused.status, refused.headers["x-should-retry"]) == (409, "false")
        assert refused.at("error", "code") == "upload_cancelled"
    assert server.ask("GET", "/v1/files").at("data") == []


def test_a_completed_upload_can_not_be_cancelled_nor_completed_otherwise(
    server: ApiServer,
) -> None:
    upload_id = create(server)
    ids = send_all(server, upload_id)
    assert complete(server, upload_id, ids).status == 200
    assert server.ask("POST", f"/v1/uploads/{upload_id}/cancel").status == 409
    assert complete(server, upload_id, ids[::-1]).status == 409
    assert add_part(server, upload_id, b"").status == 409


def test_an_upload_expires(tmp_path: Path) -> None:
    with ApiServer(tmp_path, files=FilesOptions(secret=b"s" * 32, upload_seconds=0)) as server:
        upload_id = create(server)
        assert server.ask("GET", f"/v1/uploads/{upload_id}").at("status") == "expired"
        for refused in (complete(server, upload_id, []), add_part(server, upload_id, b"x")):
            assert (refused.status, refused.at("error", "code")) == (409, "upload_expired")


def test_the_lifetime_of_the_file_is_from_its_completion(server: ApiServer) -> None:
    upload_id = create(server, expires_after={"anchor": "created_at", "seconds": 3600})
    file = complete(server, upload_id, send_all(server, upload_id))
    created_at, expires_at = file.at("file", "created_at"), file.at("file", "expires_at")
    assert isinstance(created_at, int)
    assert isinstance(expires_at, int)
    assert 3599 <= expires_at - created_at <= 3601


@pytest.mark.parametrize(
    ("changes", "status", "param"),
    [
        ({"bytes": -1}, 400, "bytes"),
        ({"bytes": "many"}, 400, "bytes"),
        ({"bytes": 2**50}, 413, "file"),
        ({"filename": ""}, 400, "filename"),
        ({"filename": "a\nb"}, 400, "filename"),
        ({"purpose": "no purpose!"}, 400, "purpose"),
        ({"expires_after": {"anchor": "created_at", "seconds": 1}}, 400, "expires_after.seconds"),
    ],
)
def test_a_wrong_announcement_is_refused(
    server: ApiServer, changes: dict[str, object], status: int, param: str
) -> None:
    wish = {"bytes": 1, "filename": "in.jsonl", "purpose": "batch"} | changes
    reply = server.post_json("/v1/uploads", wish)
    assert (reply.status, reply.at("error", "param")) == (status, param)


def test_a_part_without_data_is_refused(server: ApiServer) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="other"\r\n\r\nx\r\n--b--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    reply = server.ask("POST", f"/v1/uploads/{create(server)}/parts", body, headers)
    assert (reply.status, reply.at("error", "param")) == (400, "data")


def test_an_unknown_upload_is_not_found(server: ApiServer) -> None:
    for reply in (
        server.ask("GET", "/v1/uploads/upload_none"),
        server.ask("POST", "/v1/uploads/upload_none/cancel"),
        add_part(server, "upload_none", b"x"),
        complete(server, "upload_none", []),
    ):
        assert (reply.status, reply.at("error", "param")) == (404, "upload_id")
