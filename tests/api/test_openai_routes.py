"""The OpenAI dialect over a socket, on a real store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from overnight.domain.job import JobEvent
from overnight.service.files import FilesOptions
from overnight.store import jobs as job_rows
from support.api_server import ApiServer, form

CHAT = "/v1/chat/completions"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with ApiServer(tmp_path) as running:
        yield running


def create(server: ApiServer, **changes: object) -> str:
    body = {"input_file_id": server.upload(), "endpoint": CHAT, "completion_window": "24h"}
    reply = server.post_json("/v1/batches", body | changes)
    assert reply.status == 200, reply
    return str(reply.at("id"))


def test_a_file_comes_back_as_it_went(server: ApiServer) -> None:
    data = bytes(range(256)) * 5_000
    file_id = server.upload(data, "dir/ünïcode\u2028.jsonl")
    described = server.ask("GET", f"/v1/files/{file_id}").json()
    assert isinstance(described, dict)
    assert described["filename"] == "ünïcode\u2028.jsonl"
    assert described["bytes"] == len(data)
    assert described["status"] == "processed"
    reply = server.ask("GET", f"/v1/files/{file_id}/content", headers={"accept-encoding": "gzip"})
    assert reply.body == data
    assert reply.headers["content-length"] == str(len(data))
    assert "content-encoding" not in reply.headers
    assert (
        "filename*=UTF-8''%C3%BCn%C3%AFcode%E2%80%A8.jsonl" in reply.headers["content-disposition"]
    )


def test_an_empty_file_comes_back_empty(server: ApiServer) -> None:
    reply = server.ask("GET", f"/v1/files/{server.upload(b'')}/content")
    assert (reply.status, reply.body) == (200, b"")


def test_a_range_of_a_file(server: ApiServer) -> None:
    path = f"/v1/files/{server.upload(b'0123456789')}/content"
    part = server.ask("GET", path, headers={"range": "bytes=2-4"})
    assert (part.status, part.body) == (206, b"234")
    assert part.headers["content-range"] == "bytes 2-4/10"
    beyond = server.ask("GET", path, headers={"range": "bytes=10-"})
    assert beyond.status == 416
    assert beyond.headers["content-range"] == "bytes */10"
    assert beyond.at("error", "param") == "range"


def test_a_range_is_of_the_same_bytes_or_not_at_all(server: ApiServer) -> None:
    path = f"/v1/files/{server.upload(b'0123456789')}/content"
    whole = server.ask("GET", path)
    same = {"range": "bytes=2-4", "if-range": whole.headers["etag"]}
    part = server.ask("GET", path, headers=same)
    assert (part.status, part.body) == (206, b"234")
    for condition in ('"other"', f"W/{whole.headers['etag']}", "Sat, 01 Jan 2000 00:00:00 GMT"):
        other = server.ask("GET", path, headers={"range": "bytes=2-4", "if-range": condition})
        assert (other.status, other.body) == (200, b"0123456789")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\\\data\\\\in.jsonl", "in.jsonl"),
        ("", "upload"),
        ("dir/", "upload"),
        ("ünï 100% #1?.jsonl", "ünï 100% #1?.jsonl"),
        ("x" * 255, "x" * 255),
        ("ü" * 127, "ü" * 127),
        ("CON", "CON"),
    ],
)
def test_names_are_kept_as_given_but_for_folders(server: ApiServer, given: str, kept: str) -> None:
    file_id = server.upload(name=given)
    assert server.ask("GET", f"/v1/files/{file_id}").at("filename") == kept
    assert [path.name for path in (server.folder / "files").iterdir()] == [file_id]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("x" * 256, "1 to 255 bytes of UTF-8, this one has 256"),
        ("ü" * 128, "this one has 256"),
        ("a\tb", "no control characters, this one has '\\t'"),
        ("a\x00b", "control characters"),
        ("a\x9b31mb", "control characters"),
        ("..", "'..' is a folder"),
        ("dir/.", "'.' is a folder"),
    ],
)
def test_names_that_nobody_could_save_a_file_under_are_refused(
    server: ApiServer, name: str, why: str
) -> None:
    reply = server.ask("POST", "/v1/files", *form({"purpose": "batch"}, b"{}", name))
    assert (reply.status, reply.at("error", "param")) == (400, "filename")
    assert why in str(reply.at("error", "message"))
    assert list((server.folder / "files").iterdir()) == []


def test_the_number_of_files_is_limited_per_tenant(tmp_path: Path) -> None:
    options = FilesOptions(secret=b"s" * 32, files_max=2)
    with ApiServer(tmp_path / "api", files=options) as server:
        first, _ = server.upload(), server.upload()
        wish = {"bytes": 1, "filename": "a", "purpose": "batch"}
        for refused in (
            server.ask("POST", "/v1/files", *form({"purpose": "batch"}, b"{}")),
            server.post_json("/v1/uploads", wish),
        ):
            assert (refused.status, refused.at("error", "code")) == (413, "too_many_files")
            assert "2 files; the limit `limits.files_max` is 2" in str(
                refused.at("error", "message")
            )
        server.ask("DELETE", f"/v1/files/{first}")
        server.upload()


def test_the_bytes_of_a_tenants_files_are_limited(tmp_path: Path) -> None:
    options = FilesOptions(secret=b"s" * 32, storage_bytes_max=1_000)
    with ApiServer(tmp_path / "api", files=options) as server:
        first = server.upload(b"x" * 600)
        for refused in (
            server.ask("POST", "/v1/files", *form({"purpose": "batch"}, b"x" * 401)),
            server.post_json(
                "/v1/uploads",
                {"bytes": 401, "filename": "a", "purpose": "batch", "mime_type": "text/jsonl"},
            ),
        ):
            assert (refused.status, refused.at("error", "code")) == (413, "storage_full")
            told = str(refused.at("error", "message"))
            assert "600 of the 1,000 that the limit `limits.storage_bytes_max` allows" in told
            assert told.endswith("left are 400.")
        assert len(list((server.folder / "files").iterdir())) == 1
        assert not list((server.folder / "incoming").iterdir())
        server.upload(b"x" * 400)
        refused = server.ask("POST", "/v1/files", *form({"purpose": "batch"}, b"x"))
        assert refused.at("error", "code") == "storage_full"
        server.ask("DELETE", f"/v1/files/{first}")
        server.upload(b"x" * 600)


def test_npm_sends_the_file_first_and_in_chunks(server: ApiServer) -> None:
    body = (
        b'--X\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{}\r\n'
        b'--X\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--X--\r\n'
    )
    pieces = (body[start : start + 7] for start in range(0, len(body), 7))
    headers = {"content-type": "multipart/form-data; boundary=X"}
    reply = server.ask("POST", "/v1/files", pieces, headers)
    assert (reply.status, reply.at("bytes")) == (200, 2)


def test_a_form_without_a_file_is_refused_and_not_redirected(server: ApiServer) -> None:
    reply = server.ask("POST", "/v1/files", *form({"purpose": "batch"}))
    assert (reply.status, reply.at("error", "param")) == (400, "file")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "purpose"),
        ({"purpose": "no purpose!"}, "purpose"),
        ({"purpose": "batch", "expires_after[seconds]": "9"}, "expires_after[anchor]"),
        (
            {
                "purpose": "batch",
                "expires_after[anchor]": "created_at",
                "expires_after[seconds]": "9",
            },
            "expires_after[seconds]",
        ),
    ],
)
def test_a_refused_upload_leaves_nothing(
    server: ApiServer, fields: dict[str, str], param: str
) -> None:
    reply = server.ask("POST", "/v1/files", *form(fields, b"x" * 3_000_000))
    assert (reply.status, reply.at("error", "param")) == (400, param)
    assert list((server.folder / "incoming").iterdir()) == []
    assert list((server.folder / "files").iterdir()) == []


def test_a_lifetime_is_kept(server: ApiServer) -> None:
    fields = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    reply = server.ask("POST", "/v1/files", *form({"purpose": "batch"} | fields, b"{}"))
    created_at, expires_at = reply.at("created_at"), reply.at("expires_at")
    assert isinstance(created_at, int)
    assert isinstance(expires_at, int)
    assert 3599 <= expires_at - created_at <= 3601


def test_files_are_listed_page_by_page(server: ApiServer) -> None:
    ids = [server.upload(name=f"{n}.jsonl") for n in range(3)]
    server.upload(purpose="user_data")
    first = server.ask("GET", "/v1/files?purpose=batch&limit=2&order=asc")
    assert [first.at("first_id"), first.at("last_id")] == ids[:2]
    assert first.at("has_more") is True
    rest = server.ask("GET", f"/v1/files?purpose=batch&limit=2&order=asc&after={ids[1]}")
    assert [rest.at("data", 0, "id"), rest.at("has_more")] == [ids[2], False]
    server.ask("DELETE", f"/v1/files/{ids[1]}")
    again = server.ask("GET", f"/v1/files?purpose=batch&order=asc&after={ids[1]}")
    assert again.at("data", 0, "id") == ids[2]


def test_a_deleted_file_is_gone(server: ApiServer) -> None:
    file_id = server.upload()
    deleted = server.ask(
        "DELETE", f"/v1/files/{file_id}", None, {"content-type": "application/json"}
    )
    assert deleted.json() == {"id": file_id, "object": "file", "deleted": True}
    for path in (f"/v1/files/{file_id}", f"/v1/files/{file_id}/content"):
        gone = server.ask("GET", path)
        assert (gone.status, gone.at("error", "code")) == (404, "not_found")
    assert server.ask("DELETE", f"/v1/files/{file_id}").status == 404


def test_a_file_of_a_live_batch_can_not_be_deleted(server: ApiServer) -> None:
    batch = server.ask("GET", f"/v1/batches/{create(server)}")
    path = f"/v1/files/{batch.at('input_file_id')}"
    refused = server.ask("DELETE", path)
    assert (refused.status, refused.headers["x-should-retry"]) == (409, "false")
    server.ask("POST", f"/v1/batches/{batch.at('id')}/cancel")
    assert server.ask("DELETE", path).status == 200


def test_a_new_batch_says_why_it_waits(server: ApiServer) -> None:
    batch = server.ask("GET", f"/v1/batches/{create(server, metadata={'a': 'b'})}")
    assert batch.at("status") == "validating"
    assert batch.at("metadata") == {"a": "b"}
    assert batch.at("request_counts") == {"total": 0, "completed": 0, "failed": 0}
    assert batch.at("waiting_for") == "waiting: no clerk is running"


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"endpoint": "/v1/none"}, "endpoint", "invalid_value"),
        ({"endpoint": 3}, "endpoint", "invalid_type"),
        ({"completion_window": "1h"}, "completion_window", "invalid_value"),
        ({"input_file_id": "file-none"}, "input_file_id", "file_not_found"),
        ({"input_file_id": None}, "input_file_id", "invalid_type"),
        ({"metadata": {"a": 1}}, "metadata.a", "invalid_type"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a", "invalid_value"),
        ({"metadata": {"x" * 65: ""}}, f"metadata.{'x' * 64}", "invalid_value"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "invalid_value"),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 1}},
            "output_expires_after.seconds",
            "invalid_value",
        ),
    ],
)
def test_a_wrong_parameter_is_named(
    server: ApiServer, changes: dict[str, object], param: str, code: str
) -> None:
    body = {"input_file_id": server.upload(), "endpoint": CHAT, "completion_window": "24h"}
    reply = server.post_json("/v1/batches", body | changes)
    assert (reply.status, reply.at("error", "param"), reply.at("error", "code")) == (
        400,
        param,
        code,
    )


def test_what_lines_must_hold_can_be_said(server: ApiServer) -> None:
    body = {"input_file_id": server.upload(), "endpoint": CHAT}
    for rules, status in (("together", 200), ("openai", 200), ("none", 400)):
        reply = server.post_json("/v1/batches", body, {"x-overnight-line-rules": rules})
        assert reply.status == status
        if status == 200:
            batch_id = str(reply.at("id"))
            assert server.store(lambda tx, id=batch_id: job_rows.get(tx, id)).line_rules == rules
        else:
            assert reply.at("error", "param") == "x-overnight-line-rules"


def test_a_missing_parameter_is_named(server: ApiServer) -> None:
    reply = server.post_json("/v1/batches", {"endpoint": CHAT})
    assert reply.status == 400
    assert reply.at("error", "message") == "Missing required parameter: 'input_file_id'."


def test_unknown_keys_and_nulls_mean_nothing(server: ApiServer) -> None:
    create(server, metadata=None, output_expires_after=None, something_new={"a": 1})


def test_a_file_for_another_purpose_is_refused(server: ApiServer) -> None:
    body = {"input_file_id": server.upload(purpose="user_data"), "endpoint": CHAT}
    assert server.post_json("/v1/batches", body).at("error", "code") == "invalid_purpose"


def test_batches_are_listed_newest_first(server: ApiServer) -> None:
    ids = [create(server) for _ in range(3)]
    first = server.ask("GET", "/v1/batches?limit=2")
    assert [first.at("first_id"), first.at("last_id")] == [ids[2], ids[1]]
    assert first.at("has_more") is True
    rest = server.ask("GET", f"/v1/batches?limit=2&after={ids[1]}")
    assert [rest.at("data", 0, "id"), rest.at("has_more")] == [ids[0], False]
    wrong = server.ask("GET", "/v1/batches?after=batch_none")
    assert (wrong.status, wrong.at("error", "param")) == (400, "after")


def test_cancelling_twice_is_fine_and_too_late_is_not(server: ApiServer) -> None:
    batch_id = create(server)
    path = f"/v1/batches/{batch_id}/cancel"
    empty_json = {"content-type": "application/json", "content-length": "0"}
    for _ in range(2):
        assert server.ask("POST", path, None, empty_json).at("status") == "cancelled"
    other = create(server)
    server.store(lambda tx: job_rows.advance(tx, other, JobEvent.DEADLINE_PASSED, 1.0))
    refused = server.ask("POST", f"/v1/batches/{other}/cancel")
    assert refused.status == 409
    assert refused.headers["x-should-retry"] == "false"
    assert refused.at("error", "message") == "Cannot cancel a batch with status 'expired'."


def test_an_unknown_batch_is_not_found(server: ApiServer) -> None:
    for method, path in (("GET", "/v1/batches/batch_none"), ("POST", "/v1/batches/x/cancel")):
        reply = server.ask(method, path)
        assert (reply.status, reply.at("error", "param")) == (404, "batch_id")
