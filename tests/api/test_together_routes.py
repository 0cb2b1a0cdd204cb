"""The Together dialect over a socket, on a real store."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from overnight.service.files import FilesOptions
from overnight.service.upload_link import UploadLink
from support.api_server import TOGETHER, ApiServer, Reply, form

DATA = b'{"custom_id": "a", "body": {}}\n'
CHAT = "/v1/chat/completions"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with ApiServer(tmp_path) as running:
        yield running


def reserve(server: ApiServer, **fields: str) -> tuple[str, str]:
    """The id of the file to be, and the path to put it to."""
    body, headers = form({"purpose": "batch-api", "file_name": "a.jsonl"} | fields)
    reply = server.ask("POST", "/v1/files", body, headers | TOGETHER)
    assert (reply.status, reply.body) == (302, b"")
    location = reply.headers["location"]
    assert location.startswith(f"{server.base_url}/storage/")
    return reply.headers["x-together-file-id"], location.removeprefix(server.base_url)


def put(server: ApiServer, path: str, data: bytes) -> Reply:
    return server.ask("PUT", path, data)


def test_three_steps(server: ApiServer) -> None:
    file_id, path = reserve(server, checksum=hashlib.sha256(DATA).hexdigest())
    pending = server.ask("GET", f"/v1/files/{file_id}", headers=TOGETHER)
    assert pending.at("processing_status") == "PENDING"
    assert put(server, path, DATA).status == 200
    # npm asks for the file now and skips the third step.
    for method, suffix in (("GET", ""), ("POST", "/preprocess"), ("POST", "/preprocess")):
        empty = TOGETHER | {"content-type": "application/json"}
        ready = server.ask(method, f"/v1/files/{file_id}{suffix}", None, empty)
        assert ready.at("processing_status") == "COMPLETED"
        assert ready.at("Processed") is True
        assert ready.at("bytes") == len(DATA)
        assert ready.at("purpose") == "batch-api"
        assert ready.at("FileType") == "jsonl"
    content = server.ask("GET", f"/v1/files/{file_id}/content", headers=TOGETHER)
    assert content.body == DATA


def test_together_1_announces_the_file_in_an_urlencoded_form(server: ApiServer) -> None:
    body = b"purpose=batch-api&file_name=%C3%BC.jsonl&file_type=jsonl"
    headers = {"content-type": "application/x-www-form-urlencoded"}
    reply = server.ask("POST", "/v1/files", body, headers)
    assert reply.status == 302
    file_id = reply.headers["x-together-file-id"]
    assert server.ask("GET", f"/v1/files/{file_id}").at("filename") == "ü.jsonl"


def test_the_link_is_where_the_client_reaches_us(tmp_path: Path) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    body = b"purpose=batch-api&file_name=a.jsonl"
    proxied = headers | {"x-forwarded-proto": "https", "x-forwarded-host": "batch.example"}
    with ApiServer(tmp_path / "a") as server:
        reply = server.ask("POST", "/v1/files", body, proxied)
        assert reply.headers["location"].startswith("https://batch.example/storage/")
    with ApiServer(tmp_path / "b", public_url="https://night.example/batch/") as server:
        reply = server.ask("POST", "/v1/files", body, proxied)
        assert reply.headers["location"].startswith("https://night.example/batch/storage/")


def test_a_put_may_be_repeated_and_changed_until_a_job_reads_it(server: ApiServer) -> None:
    file_id, path = reserve(server)
    for data in (DATA, DATA, b"other\n"):
        assert put(server, path, data).status == 200
        assert server.ask("GET", f"/v1/files/{file_id}/content").body == data
    job = {"input_file_id": file_id, "endpoint": CHAT}
    assert server.post_json("/v1/batches", job, TOGETHER).status == 201
    assert put(server, path, b"other\n").status == 200
    assert put(server, path, DATA).status == 409
    assert server.ask("GET", f"/v1/files/{file_id}/content").body == b"other\n"
    assert list((server.folder / "incoming").iterdir()) == []


def test_a_link_replaces_nothing_once_the_upload_is_confirmed(server: ApiServer) -> None:
    file_id, path = reserve(server)
    put(server, path, DATA)
    for _ in range(2):
        confirmed = server.ask("POST", f"/v1/files/{file_id}/preprocess", headers=TOGETHER)
        assert confirmed.at("Processed") is True
    assert put(server, path, DATA).status == 200
    refused = put(server, path, b"other\n")
    assert (refused.status, refused.at("error", "code")) == (409, "upload_confirmed")
    assert server.ask("GET", f"/v1/files/{file_id}/content").body == DATA


def test_an_empty_file_may_be_put(server: ApiServer) -> None:
    file_id, path = reserve(server)
    chunked = server.ask("PUT", path, iter([]))
    assert chunked.status == 200
    assert server.ask("GET", f"/v1/files/{file_id}").at("bytes") == 0


def test_other_bytes_than_promised_are_refused(server: ApiServer) -> None:
    file_id, path = reserve(server, checksum=hashlib.sha256(DATA).hexdigest())
    refused = put(server, path, b"other")
    assert (refused.status, refused.at("error", "code")) == (400, "checksum_mismatch")
    confirm = server.ask("POST", f"/v1/files/{file_id}/preprocess")
    assert (confirm.status, confirm.at("error", "code")) == (400, "file_not_ready")
    job = {"input_file_id": file_id, "endpoint": CHAT}
    created = server.post_json("/v1/batches", job)
    assert (created.status, created.at("error", "code")) == (400, "file_not_ready")
    assert put(server, path, DATA).status == 200


def test_only_our_own_links_open_the_store(server: ApiServer) -> None:
    file_id, path = reserve(server)
    expired = UploadLink(file_id, 1, None).sign(b"s" * 32)
    forged = UploadLink(file_id, 2**31, None).sign(b"t" * 32)
    changed = path.replace(file_id, file_id[:-1] + ("0" if file_id[-1] != "0" else "1"))
    assert put(server, f"/storage/{expired}", DATA).at("error", "code") == "link_expired"
    for wrong in (f"/storage/{forged}", changed, "/storage/x", f"{path}0", "/storage/%C3%BC"):
        refused = put(server, wrong, DATA)
        assert (refused.status, refused.at("error", "code")) == (403, "invalid_link"), wrong
    assert server.ask("GET", path).status == 405


def test_a_deleted_reservation_takes_no_bytes(server: ApiServer) -> None:
    file_id, path = reserve(server)
    assert server.ask("DELETE", f"/v1/files/{file_id}").status == 200
    assert put(server, path, DATA).status == 404
    assert list((server.folder / "files").iterdir()) == []


@pytest.mark.parametrize("path", ["/v1/files", "/v1/files/upload"])
def test_one_request_is_enough_for_scripts(server: ApiServer, path: str) -> None:
    reply = server.ask("POST", path, *form({"purpose": "batch-api"}, DATA))
    assert reply.status == 200
    assert reply.at("processing_status") == "COMPLETED"
    assert reply.at("purpose") == "batch-api"


def test_where_a_whole_file_is_wanted_none_is_announced(server: ApiServer) -> None:
    fields = {"purpose": "batch-api", "file_name": "a.jsonl"}
    refused = server.ask("POST", "/v1/files/upload", *form(fields))
    assert (refused.status, refused.at("error", "param")) == (400, "file")


def test_bytes_that_are_there_are_not_taken_again_if_so_set(tmp_path: Path) -> None:
    checksum = hashlib.sha256(DATA).hexdigest()
    options = FilesOptions(secret=b"s" * 32, deduplicate=True)
    with ApiServer(tmp_path / "api", files=options) as server:
        file_id, path = reserve(server, checksum=checksum)
        second, _ = reserve(server, checksum=checksum)
        assert second != file_id, "what has not arrived can not be pointed to"
        put(server, path, DATA)
        fields = {"purpose": "batch-api", "file_name": "b.jsonl", "checksum": checksum.upper()}
        body, headers = form(fields)
        again = server.ask("POST", "/v1/files", body, headers | TOGETHER)
        assert (again.status, again.headers["x-should-retry"]) == (409, "false")
        assert again.at("file_id") == file_id
        assert file_id in str(again.at("error", "message"))
        for other in ({"purpose": "fine-tune"}, {"checksum": "0" * 64}):
            assert reserve(server, **({"checksum": checksum} | other))[0] != file_id
        server.ask("DELETE", f"/v1/files/{file_id}")
        assert reserve(server, checksum=checksum)[0] != file_id


def test_bytes_are_taken_again_unless_it_is_set(server: ApiServer) -> None:
    checksum = hashlib.sha256(DATA).hexdigest()
    first, path = reserve(server, checksum=checksum)
    put(server, path, DATA)
    assert reserve(server, checksum=checksum)[0] != first


def test_a_job(server: ApiServer) -> None:
    body = {"input_file_id": server.upload(), "endpoint": CHAT, "model_id": "m", "priority": 3}
    created = server.post_json("/v1/batches", body, TOGETHER)
    assert created.status == 201
    job = created.at("job")
    assert isinstance(job, dict)
    assert (job["status"], job["progress"], job["user_id"]) == ("VALIDATING", 0.0, "local")
    got = server.ask("GET", f"/v1/batches/{job['id']}", headers=TOGETHER)
    assert got.json() == job
    listed = server.ask("GET", "/v1/batches", headers=TOGETHER)
    assert listed.json() == [job]
    cancelled = server.ask("POST", f"/v1/batches/{job['id']}/cancel", headers=TOGETHER)
    assert cancelled.at("status") == "CANCELLED"


def test_lists_hold_everything(server: ApiServer) -> None:
    assert server.ask("GET", "/v1/batches", headers=TOGETHER).json() == []
    ids = {server.upload(purpose=purpose) for purpose in ("batch", "user_data", "batch")}
    listed = server.ask("GET", "/v1/files", headers=TOGETHER).at("data")
    assert isinstance(listed, list)
    assert {file["id"] for file in listed} == ids
    assert {file["purpose"] for file in listed} == {"batch-api", None}


def test_whoami(server: ApiServer) -> None:
    assert server.ask("GET", "/v3/whoami", headers=TOGETHER).at("project", "id") == "local"


def test_both_dialects_show_the_same_files_and_jobs(server: ApiServer) -> None:
    file_id, path = reserve(server)
    put(server, path, DATA)
    body = {"input_file_id": file_id, "endpoint": CHAT}
    job_id = server.post_json("/v1/batches", body, TOGETHER).at("job", "id")
    assert server.ask("GET", f"/v1/batches/{job_id}").at("object") == "batch"
    assert server.ask("GET", f"/v1/files/{file_id}").at("purpose") == "batch"
