"""Together's multipart uploads, over a socket, on a real store."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from overnight.service.files import FilesOptions
from overnight.service.upload_link import PartLink, UploadLink
from support.api_server import TOGETHER, ApiServer, Reply

PARTS = [b"one\n" * 300, b"two\n" * 300, b"3\n"]
WHOLE = b"".join(PARTS)
SECRET = b"s" * 32


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with ApiServer(tmp_path) as running:
        yield running


def wish(**changes: object) -> dict[str, object]:
    return {
        "file_name": "large.jsonl",
        "file_size": len(WHOLE),
        "num_parts": len(PARTS),
        "purpose": "batch-api",
        "file_type": "jsonl",
    } | changes


class Multipart:
    """One upload, as the SDKs do it."""

    def __init__(self, server: ApiServer, **changes: object) -> None:
        self._server = server
        reply = server.post_json("/v1/files/multipart/initiate", wish(**changes), TOGETHER)
        assert reply.status == 200, reply
        self.ids = {name: reply.at(name) for name in ("upload_id", "file_id")}
        self.parts = reply.at("parts")
        assert isinstance(self.parts, list)
        self.links = [part["URL"].removeprefix(server.base_url) for part in self.parts]

    def put(self, number: int, data: bytes | None = None) -> Reply:
        body = PARTS[number - 1] if data is None else data
        return self._server.ask("PUT", self.links[number - 1], body)

    def put_all(self) -> list[dict[str, object]]:
        """Out of order; what completion wants to know of them."""
        tags = {number: self.put(number).headers["etag"].strip('"') for number in (2, 1, 3)}
        return [{"part_number": number, "etag": tags[number]} for number in sorted(tags)]

    def complete(self, parts: object) -> Reply:
        return self.post("complete", parts=parts)

    def post(self, what: str, **more: object) -> Reply:
        body = self.ids | more
        return self._server.post_json(f"/v1/files/multipart/{what}", body, TOGETHER)


def test_parts_in_any_order_become_a_file(server: ApiServer) -> None:
    upload = Multipart(server, checksum=hashlib.sha256(WHOLE).hexdigest())
    assert [part["PartNumber"] for part in upload.parts] == [1, 2, 3]
    assert all(part["Headers"] == {} for part in upload.parts)
    parts = upload.put_all()
    done = upload.complete(parts)
    assert done.status == 200
    file = done.at("file")
    assert isinstance(file, dict)
    assert (file["id"], file["bytes"]) == (upload.ids["file_id"], len(WHOLE))
    assert (file["FileType"], file["Processed"], file["purpose"]) == ("jsonl", True, "batch-api")
    content = server.ask("GET", f"/v1/files/{file['id']}/content", headers=TOGETHER)
    assert content.body == WHOLE
    assert upload.complete(parts).json() == done.json()


def test_links_are_where_the_client_reaches_us(tmp_path: Path) -> None:
    with ApiServer(tmp_path, public_url="https://night.example/batch") as server:
        upload = Multipart(server)
        assert upload.parts[0]["URL"].startswith("https://night.example/batch/storage/parts/")


def test_a_part_may_be_put_again(server: ApiServer) -> None:
    upload = Multipart(server)
    first = upload.put(1, b"x" * len(PARTS[0]))
    parts = upload.put_all()
    assert first.headers["etag"] != parts[0]["etag"]
    assert upload.complete(parts).status == 200
    content = server.ask("GET", f"/v1/files/{upload.ids['file_id']}/content")
    assert content.body == WHOLE
    assert upload.put(1).status == 409


def test_what_is_missing_or_not_the_same_is_named(server: ApiServer) -> None:
    upload = Multipart(server)
    upload.put(1)
    missing = upload.complete([])
    assert "Part 2 of 3" in str(missing.at("error", "message"))
    parts = upload.put_all()
    other = [parts[0] | {"etag": "0" * 64}, *parts[1:]]
    for refused in (
        missing,
        upload.complete(parts[:2]),
        upload.complete([*parts, parts[0]]),
        upload.complete(other),
    ):
        assert (refused.status, refused.at("error", "param")) == (400, "parts")
    assert upload.complete(parts).status == 200


def test_other_bytes_than_promised_are_refused(server: ApiServer) -> None:
    promised = hashlib.sha256(b"other").hexdigest()
    upload = Multipart(server, checksum=promised)
    refused = upload.complete(upload.put_all())
    assert (refused.status, refused.at("error", "code")) == (400, "checksum_mismatch")
    message = str(refused.at("error", "message"))
    assert promised in message
    assert hashlib.sha256(WHOLE).hexdigest() in message


def test_aborting_ends_it(server: ApiServer) -> None:
    upload = Multipart(server)
    parts = upload.put_all()
    for _ in range(2):
        aborted = upload.post("abort")
        assert (aborted.status, aborted.at("aborted")) == (200, True)
    for refused in (upload.put(1), upload.complete(parts)):
        assert (refused.status, refused.headers["x-should-retry"]) == (409, "false")
    assert server.ask("GET", f"/v1/files/{upload.ids['file_id']}").status == 404


def test_ids_that_do_not_belong_together_are_refused(server: ApiServer) -> None:
    upload, other = Multipart(server), Multipart(server)
    refused = upload.post("abort", file_id=other.ids["file_id"])
    assert (refused.status, refused.at("error", "param")) == (404, "file_id")


def test_a_link_is_for_one_part_of_one_upload_only(server: ApiServer) -> None:
    upload = Multipart(server)
    upload_id = str(upload.ids["upload_id"])
    expired = PartLink(upload_id, 1, 1).sign(SECRET)
    forged = PartLink(upload_id, 2**31, 1).sign(b"t" * 32)
    of_a_file = UploadLink(upload_id, 2**31, None).sign(SECRET)
    other_part = upload.links[0].replace(".1.", ".2.")
    assert other_part != upload.links[0]
    assert server.ask("PUT", f"/storage/parts/{expired}", b"").at("error", "code") == "link_expired"
    wrong = [f"/storage/parts/{token}" for token in (forged, of_a_file, "x")]
    as_a_file = upload.links[0].replace("/parts/", "/")
    for path in (*wrong, other_part, as_a_file):
        refused = server.ask("PUT", path, b"")
        assert (refused.status, refused.at("error", "code")) == (403, "invalid_link"), path
    assert server.ask("POST", upload.links[0], b"").status == 405


def test_a_part_is_bounded_before_it_is_sent(server: ApiServer) -> None:
    upload = Multipart(server)
    refused = upload.put(1, b"x" * (len(WHOLE) + 1))
    assert (refused.status, refused.at("error", "code")) == (413, "file_too_large")
    assert list((server.folder / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"file_size": 2**50}, 413, "file_too_large"),
        ({"num_parts": 0}, 400, "invalid_value"),
        ({"num_parts": 10_001}, 413, "too_many_parts"),
        ({"checksum": "abc"}, 400, "invalid_value"),
        ({"file_name": "x" * 256}, 400, "invalid_value"),
    ],
)
def test_a_wrong_announcement_is_refused(
    server: ApiServer, changes: dict[str, object], status: int, code: str
) -> None:
    reply = server.post_json("/v1/files/multipart/initiate", wish(**changes), TOGETHER)
    assert (reply.status, reply.at("error", "code")) == (status, code)


def test_bytes_that_are_there_need_not_be_sent_again(tmp_path: Path) -> None:
    options = FilesOptions(secret=SECRET, deduplicate=True)
    with ApiServer(tmp_path, files=options) as server:
        checksum = hashlib.sha256(WHOLE).hexdigest()
        upload = Multipart(server, checksum=checksum)
        assert upload.complete(upload.put_all()).status == 200
        path = "/v1/files/multipart/initiate"
        again = server.post_json(path, wish(checksum=checksum), TOGETHER)
        assert (again.status, again.headers["x-should-retry"]) == (409, "false")
        assert again.at("file_id") == upload.ids["file_id"]
        assert again.at("error", "code") == "file_exists"
        server.ask("DELETE", f"/v1/files/{upload.ids['file_id']}")
        assert server.post_json(path, wish(checksum=checksum), TOGETHER).status == 200
