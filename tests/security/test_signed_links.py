"""A signed link is the right to put the bytes of one file, or of one part, for a while."""

from collections.abc import Iterator

import pytest

from overnight.service.upload_link import UploadLink
from support.api_server import TOGETHER, ApiServer

KEY = {"authorization": "Bearer one"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
SECRET = b"s" * 32
"""The server's, as `ApiServer` has it."""
CONTENT = b"{}\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("api"), api_keys=("one", "two")) as running:
        yield running


def reserved(server: ApiServer, **more: str) -> tuple[str, str]:
    """The id of a file, and the token of the link to put its bytes."""
    fields = {"purpose": "batch-api", "file_name": "a.jsonl"} | more
    body = "&".join(f"{name}={value}" for name, value in fields.items()).encode()
    reply = server.ask("POST", "/v1/files", body, FORM | KEY)
    assert reply.status == 302, reply
    return reply.headers["x-together-file-id"], reply.headers["location"].rpartition("/")[2]


def part_token(server: ApiServer) -> str:
    wish = {"file_name": "a", "file_size": 3, "num_parts": 1, "purpose": "batch-api"}
    made = server.post_json("/v1/files/multipart/initiate", wish, TOGETHER | KEY)
    return str(made.at("parts", 0, "URL")).rpartition("/")[2]


def raised(text: str) -> str:
    """The first of its characters replaced by the next one."""
    return chr(ord(text[0]) + 1) + text[1:]


def test_a_change_of_any_part_of_it_makes_it_worthless(server: ApiServer) -> None:
    other_id, other = reserved(server)
    checksum = "0" * 64
    for more in ({}, {"checksum": checksum}):
        file_id, token = reserved(server, **more)
        whose, expires_at, promised, signature = token.split(".")
        assert (whose, promised) == (file_id, more.get("checksum", "-"))
        forged = [
            (other_id, expires_at, promised, signature),
            (whose, str(int(expires_at) + 1), promised, signature),
            (whose, f"{expires_at}0", promised, signature),
            (whose, f"+{expires_at}", promised, signature),
            (whose, expires_at, "-" if promised != "-" else checksum, signature),
            (whose, expires_at, promised, raised(signature)),
            (whose, expires_at, promised, signature[:-1]),
            (whose, expires_at, promised, signature.upper() + "0"),
            (whose, expires_at, promised, ""),
            (whose, expires_at, promised, other.split(".")[3]),
            (whose, expires_at, signature),
            (signature,),
        ]
        for parts in forged:
            refused = server.ask("PUT", f"/storage/{'.'.join(parts)}", CONTENT)
            assert (refused.status, refused.at("error", "code")) == (403, "invalid_link"), parts
    assert server.ask("GET", f"/v1/files/{other_id}", headers=KEY).at("bytes") == 0
    assert list((server.folder / "files").iterdir()) == []


def test_it_is_signed_with_a_secret_of_this_server(server: ApiServer) -> None:
    file_id, _ = reserved(server)
    for secret in (b"t" * 32, b"", SECRET[:-1]):
        token = UploadLink(file_id, 2**31, None).sign(secret)
        assert server.ask("PUT", f"/storage/{token}", CONTENT).at("error", "code") == "invalid_link"


def test_its_time_ends(server: ApiServer) -> None:
    file_id, _ = reserved(server)
    token = UploadLink(file_id, 1_700_000_000, None).sign(SECRET)
    assert server.ask("PUT", f"/storage/{token}", CONTENT).at("error", "code") == "link_expired"


def test_one_for_a_part_is_none_for_a_file_nor_the_other_way_round(server: ApiServer) -> None:
    part, (_, whole) = part_token(server), reserved(server)
    for path in (f"/storage/{part}", f"/storage/parts/{whole}"):
        refused = server.ask("PUT", path, CONTENT)
        assert (refused.status, refused.at("error", "code")) == (403, "invalid_link"), path


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "PATCH"])
def test_it_can_only_put(server: ApiServer, method: str) -> None:
    """Whoever finds one in the log of a proxy can read nothing with it."""
    _, token = reserved(server)
    assert server.ask("PUT", f"/storage/{token}", CONTENT).status == 200
    for path in (f"/storage/{token}", f"/storage/parts/{part_token(server)}"):
        refused = server.ask(method, path)
        assert refused.status == 405, path
        assert CONTENT not in refused.body


def test_it_is_no_key(server: ApiServer) -> None:
    file_id, token = reserved(server)
    for secret in (token, token.rpartition(".")[2]):
        for headers in ({"authorization": f"Bearer {secret}"}, {"api-key": secret}):
            assert server.ask("GET", f"/v1/files/{file_id}", headers=headers).status == 401


@pytest.mark.parametrize(
    "path",
    [
        "/storage/../v1/files",
        "/storage/..%2fv1/files",
        "/storage/%2e%2e/v1/files",
        "/storage//v1/files",
        "/storage/v1/files",
        "/storage/parts/../../v1/files",
        "/%73torage/../v1/files",
        "/storage;/v1/files",
        "/v1/storage/x",
        "//storage/x",
    ],
)
def test_no_path_behind_it_leads_elsewhere(server: ApiServer, path: str) -> None:
    """Its routes are the only ones that need no key."""
    for method in ("GET", "PUT", "POST"):
        reply = server.ask(method, path)
        assert reply.status in (401, 403, 404, 405), (method, reply)
        assert b"file-" not in reply.body
