"""A refused value is named with its field, what was given and what would be right."""

from collections.abc import Iterator

import pytest

from support.api_server import TOGETHER, ApiServer

LIFETIME = "output_expires_after"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.mark.parametrize(
    ("changes", "param", "code", "message"),
    [
        ({"endpoint": ...}, "endpoint", "missing_required_parameter", "Missing required parameter"),
        ({"endpoint": None}, "endpoint", "invalid_type", "expected a string, but got null"),
        ({"input_file_id": 7}, "input_file_id", "invalid_type", "a string, but got the number 7"),
        ({"metadata": []}, "metadata", "invalid_type", "expected an object, but got an array"),
        ({"metadata": {"a": 1}}, "metadata.a", "invalid_type", "expected a string, but got the"),
        ({"completion_window": True}, "completion_window", "invalid_type", "but got true"),
        ({LIFETIME: {"seconds": 3600}}, f"{LIFETIME}.anchor", "missing_required_parameter", "anch"),
        (
            {LIFETIME: {"anchor": "now", "seconds": 3600}},
            f"{LIFETIME}.anchor",
            "invalid_value",
            "expected 'created_at', but got 'now'",
        ),
        (
            {LIFETIME: {"anchor": "created_at", "seconds": "3600"}},
            f"{LIFETIME}.seconds",
            "invalid_type",
            "expected an integer, but got '3600'",
        ),
        (
            {LIFETIME: {"anchor": "created_at", "seconds": 12}},
            f"{LIFETIME}.seconds",
            "invalid_value",
            "at least 3,600, but got 12",
        ),
    ],
)
def test_a_batch_with_a_wrong_field(
    server: ApiServer, changes: dict[str, object], param: str, code: str, message: str
) -> None:
    right = {"input_file_id": "file-1", "endpoint": "/v1/chat/completions"}
    body = {key: value for key, value in (right | changes).items() if value is not ...}
    refused = server.post_json("/v1/batches", body)
    assert (refused.status, refused.at("error", "param")) == (400, param)
    assert refused.at("error", "code") == code
    assert message in str(refused.at("error", "message"))


@pytest.mark.parametrize("headers", [{}, TOGETHER], ids=["openai", "together"])
@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"", "invalid_json", "The body is empty; send a JSON object."),
        (b"{", "invalid_json", "not valid JSON: EOF while parsing an object at line 1"),
        (b"[]", "invalid_type", "Invalid type for the body: expected an object, but got an array"),
        (b'"\xff"', "invalid_json", "not valid JSON"),
        (b"[" * 100_000, "invalid_json", "recursion limit"),
    ],
    ids=["empty", "half", "array", "utf-8", "deep"],
)
def test_a_body_that_is_no_object(
    server: ApiServer, headers: dict[str, str], body: bytes, code: str, message: str
) -> None:
    refused = server.ask("POST", "/v1/batches", body, headers)
    assert (refused.status, refused.at("error", "code")) == (400, code)
    assert refused.at("error", "param") is None
    assert message in str(refused.at("error", "message"))


@pytest.mark.parametrize(
    ("query", "param", "message"),
    [
        ("limit=ten", "limit", "expected an integer, but got 'ten'"),
        ("limit=0", "limit", "expected a value of at least 1, but got 0"),
        ("limit=99999", "limit", "expected a value of at most 10,000, but got 99999"),
        ("order=up", "order", "expected 'asc' or 'desc', but got 'up'"),
        ("after=file-none", "after", "no object with id 'file-none'"),
    ],
)
def test_a_query_that_is_wrong(server: ApiServer, query: str, param: str, message: str) -> None:
    refused = server.ask("GET", f"/v1/files?{query}")
    assert (refused.status, refused.at("error", "param")) == (400, param)
    assert message in str(refused.at("error", "message"))


def test_what_is_quoted_is_cut(server: ApiServer) -> None:
    refused = server.ask("GET", f"/v1/files?order={'x' * 20_000}")
    assert len(refused.body) < 500
