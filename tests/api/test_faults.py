"""Every error of ours has a status and the one shape."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from overnight.api.faults import STATUS_OF, fault_reply, status_of
from overnight.domain import errors
from support.api_server import ApiServer


def all_errors(kind: type[errors.OvernightError]) -> Iterator[type[errors.OvernightError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from all_errors(narrower)


@pytest.mark.parametrize("kind", list(all_errors(errors.OvernightError)))
def test_every_error_has_the_one_shape(kind: type[errors.OvernightError]) -> None:
    error = kind("It is wrong.")
    reply = fault_reply(error)
    body = json.loads(bytes(reply.body))
    assert reply.status_code == status_of(error)
    assert list(body) == ["error"]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert isinstance(body["error"]["code"], str)


@pytest.mark.parametrize("kind", list(all_errors(errors.CallerFault)))
def test_what_the_caller_can_mend_is_named_in_the_table(kind: type[errors.CallerFault]) -> None:
    assert kind in STATUS_OF
    assert 400 <= STATUS_OF[kind] < 500


def test_conflicts_and_broken_data_are_not_worth_a_retry() -> None:
    for error in (errors.Conflict("no"), errors.Corrupt("no")):
        assert fault_reply(error).headers["x-should-retry"] == "false"


def test_what_is_our_fault_is_logged_with_its_request_id(tmp_path: Path) -> None:
    with (
        capture_logs([merge_contextvars]) as logged,
        ApiServer(tmp_path) as server,
    ):
        path = f"/v1/files/{server.upload(b'0123')}/content"
        server.blobs.file_path(path.split("/")[3]).write_bytes(b"012")
        assert server.ask("GET", "/v1/files/file-none").status == 404
        reply = server.ask("GET", path)
    (entry,) = logged
    assert entry["request_id"] == reply.headers["x-request-id"]
    assert (entry["log_level"], entry["method"], entry["path"]) == ("error", "GET", path)
    assert entry["why"] == reply.at("error", "message")


def test_the_log_holds_no_link_and_nothing_that_steers_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise errors.Unavailable("later")

    with capture_logs() as logged, ApiServer(tmp_path) as server:
        monkeypatch.setattr(server.services.files, "get", down)
        monkeypatch.setattr(server.services.files, "read_link", down)
        assert server.ask("GET", "/v1/files/%1b%5b2J").status == 503
        assert server.ask("PUT", "/storage/file-1.1.-.signature", b"").status == 503
    assert [entry["path"] for entry in logged] == [r"'/v1/files/\x1b[2J'", "/storage/…"]


def test_unavailable_says_when_to_come_back() -> None:
    reply = fault_reply(errors.Unavailable("later"))
    assert reply.status_code == 503
    assert 0 < int(reply.headers["retry-after"]) <= 60
    assert "x-should-retry" not in reply.headers


def test_a_surprise_has_the_one_shape_wherever_it_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("nobody thought of this")

    with ApiServer(tmp_path) as server:
        for part, path in (
            (server.services.jobs, "/v1/batches/batch_1"),
            (server.services.health, "/readyz"),
            (server.services.keyring, "/v1/nowhere"),
        ):
            name = {"/readyz": "missing", "/v1/nowhere": "refresh"}.get(path, "get")
            with monkeypatch.context() as patched:
                patched.setattr(part, name, broken)
                reply = server.ask("GET", path)
            assert reply.status == 500
            assert reply.headers["x-should-retry"] == "false"
            assert reply.at("error", "code") == "internal_error"
            request_id = reply.headers["x-request-id"]
            assert f"the log names it by the request id {request_id}" in str(
                reply.at("error", "message")
            )
            assert b"nobody thought" not in reply.body
