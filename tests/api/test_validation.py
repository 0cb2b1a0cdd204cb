"""A refused value is named with its field, what was given and what would be right."""

from collections.abc import Iterator

import pytest

from support.api_server import TOGETHER, ApiServer, form

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


THOUSANDS_OF_DIGITS = "9" * 5000


def test_numbers_of_thousands_of_digits_break_nothing(server: ApiServer) -> None:
    content = f"/v1/files/{server.upload(b'0123456789')}/content"
    for wish in (f"0-{THOUSANDS_OF_DIGITS}", f"-{THOUSANDS_OF_DIGITS}", f"{THOUSANDS_OF_DIGITS}-"):
        whole = server.ask("GET", content, headers={"range": f"bytes={wish}"})
        assert (whole.status, whole.body) == (200, b"0123456789")
    assert server.ask("GET", f"/v1/files?limit={THOUSANDS_OF_DIGITS}").status == 400
    number = f'{{"input_file_id":"a","endpoint":"b","priority":{THOUSANDS_OF_DIGITS}}}'
    assert server.ask("POST", "/together/v1/batches", number.encode()).status == 400


@pytest.mark.parametrize("seconds", [THOUSANDS_OF_DIGITS, "soon", "3599", "2592001", "", "-1"])
def test_a_lifetime_in_a_form(server: ApiServer, seconds: str) -> None:
    fields = {
        "purpose": "batch",
        "expires_after[anchor]": "created_at",
        "expires_after[seconds]": seconds,
    }
    refused = server.ask("POST", "/v1/files", *form(fields, b"{}"))
    assert (refused.status, refused.at("error", "param")) == (400, "expires_after[seconds]")
    expected = f"an integer from 3,600 to 2,592,000, but got '{seconds[:80]}' instead."
    assert expected in str(refused.at("error", "message"))


@pytest.mark.parametrize("boundary", ["", "b" * 71, "b" * 30_000])
def test_a_boundary_that_is_none(server: ApiServer, boundary: str) -> None:
    kind = {"content-type": f"multipart/form-data; boundary={boundary}"}
    refused = server.ask("POST", "/v1/files", b"--", kind)
    assert (refused.status, refused.at("error", "code")) == (400, "invalid_multipart")


def test_an_id_in_a_message_is_cut(server: ApiServer) -> None:
    for path in ("files", "batches", "uploads"):
        missing = server.ask("GET", f"/v1/{path}/{'x' * 20_000}")
        assert missing.status == 404
        assert len(missing.body) < 500


def test_an_item_of_an_array_is_named_by_its_place(server: ApiServer) -> None:
    wish = {"upload_id": "a", "file_id": "b", "parts": [{"part_number": "1", "etag": "x"}]}
    refused = server.post_json("/v1/files/multipart/complete", wish)
    assert refused.at("error", "param") == "parts[0].part_number"
