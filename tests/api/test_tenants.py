"""Nobody finds out about what belongs to others, on any route there is.

The routes are taken from the application itself: a new one fails here until it is said, in one of
the tables below, which ids it takes.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.routing import BaseRoute, Mount, Route

from overnight.api.app import ApiOptions, routing
from overnight.domain.api_key import ApiKey, digest_of
from overnight.service.files import FilesOptions
from overnight.service.webhooks.courier import CourierOptions
from overnight.store import keys as key_rows
from support.api_server import ApiServer, Reply, form

OWNER, STRANGER = ({"authorization": f"Bearer {key}"} for key in ("one", "two"))
UNKNOWN: Mapping[str, str] = {
    "file_id": "file-000000000000000000000000",
    "batch_id": "batch_000000000000000000000000",
    "webhook_endpoint_id": "we_000000000000000000000000",
    "upload_id": "upload_000000000000000000000000",
    "multipart": "upload_000000000000000000000000 file-000000000000000000000000",
}


def a_file(server: ApiServer) -> str:
    body, headers = form({"purpose": "batch"}, b"{}\n")
    return str(server.ask("POST", "/openai/v1/files", body, headers | OWNER).at("id"))


def a_batch(server: ApiServer) -> str:
    wish = {"input_file_id": a_file(server), "endpoint": "/v1/chat/completions"}
    return str(server.post_json("/openai/v1/batches", wish, OWNER).at("id"))


def an_upload(server: ApiServer) -> str:
    """Of no bytes, so that it can be completed at once."""
    wish = {"bytes": 0, "filename": "a", "purpose": "batch"}
    return str(server.post_json("/openai/v1/uploads", wish, OWNER).at("id"))


def a_multipart(server: ApiServer) -> str:
    """Both ids that its routes want, with a blank between."""
    wish = {"file_name": "a", "file_size": 0, "num_parts": 1, "purpose": "batch-api"}
    made = server.post_json("/together/v1/files/multipart/initiate", wish, OWNER)
    link = str(made.at("parts", 0, "URL")).removeprefix(server.base_url)
    assert server.ask("PUT", link, b"").status == 200
    return f"{made.at('upload_id')} {made.at('file_id')}"


def a_webhook(server: ApiServer) -> str:
    """To a URL that answers."""
    wish = {"name": "a", "url": f"{server.base_url}/healthz", "event_types": ["batch.failed"]}
    return str(server.post_json("/openai/v1/webhook_endpoints", wish, OWNER).at("id"))


MAKERS: Mapping[str, Callable[[ApiServer], str]] = {
    "file_id": a_file,
    "batch_id": a_batch,
    "upload_id": an_upload,
    "multipart": a_multipart,
    "webhook_endpoint_id": a_webhook,
}
"""What a parameter of a path names, made for `OWNER`."""


def _new_batch(ids: Mapping[str, str]) -> object:
    return {"input_file_id": ids["file_id"], "endpoint": "/v1/chat/completions"}


def _aborted(ids: Mapping[str, str]) -> dict[str, object]:
    upload_id, _, file_id = ids["multipart"].partition(" ")
    return {"upload_id": upload_id, "file_id": file_id}


def _completed(ids: Mapping[str, str]) -> object:
    parts = [{"part_number": 1, "etag": hashlib.sha256().hexdigest()}]
    return {"parts": parts} | _aborted(ids)


BODIES: Mapping[str, Callable[[Mapping[str, str]], object]] = {
    "POST /openai/v1/batches": _new_batch,
    "POST /together/v1/batches": _new_batch,
    "POST /openai/v1/uploads/{upload_id}/complete": lambda _: {"part_ids": []},
    "POST /together/v1/files/multipart/complete": _completed,
    "POST /together/v1/files/multipart/abort": _aborted,
    "POST /openai/v1/webhook_endpoints/{webhook_endpoint_id}": lambda _: {"name": "b"},
    "POST /openai/v1/webhook_endpoints/{webhook_endpoint_id}/rotate_secret": lambda _: {"_": 0},
    "POST /openai/v1/webhook_endpoints/{webhook_endpoint_id}/test": (
        lambda _: {"event_type": "batch.failed"}
    ),
}
"""Of routes that take ids in their body, or can do nothing without one."""

REFUSED_WITH_400 = {"POST /openai/v1/batches", "POST /together/v1/batches"}
"""What they name is no part of the path."""

WITHOUT_IDS = {
    "GET /healthz",
    "GET /readyz",
    "GET /v3/whoami",
    # The link is a right of its own.
    "PUT /storage/{token}",
    "PUT /storage/parts/{token}",
    "GET /openai/v1/openapi.json",
    "GET /together/v1/openapi.json",
    "GET /openai/v1/files",
    "GET /together/v1/files",
    "POST /openai/v1/files",
    "POST /together/v1/files",
    "POST /together/v1/files/upload",
    "POST /openai/v1/uploads",
    "POST /together/v1/files/multipart/initiate",
    "GET /openai/v1/batches",
    "GET /together/v1/batches",
    "POST /openai/v1/webhook_endpoints",
    "GET /openai/v1/webhook_endpoints",
    "GET /openai/v1/webhook_event_types",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def made(self, server: ApiServer) -> dict[str, str]:
        """What it needs, fresh: some routes use it up."""
        body = "multipart" if "/multipart/" in self.path else "file_id"
        names = re.findall(r"{(\w+)}", self.path) or [body]
        return {name: MAKERS[name](server) for name in names}

    def ask(self, server: ApiServer, ids: Mapping[str, str], who: Mapping[str, str]) -> Reply:
        path = self.path.format(**ids)
        if body := BODIES.get(str(self)):
            return server.post_json(path, body(ids), who)
        return server.ask(self.method, path, headers=who)


def endpoints(routes: list[BaseRoute], prefix: str = "") -> Iterator[Endpoint]:
    for route in routes:
        if isinstance(route, Mount):
            yield from endpoints(route.routes, prefix + route.path)
        else:
            assert isinstance(route, Route), f"what is {route}?"
            for method in (route.methods or set()) - {"HEAD"}:
                yield Endpoint(method, prefix + route.path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    folder, private = tmp_path_factory.mktemp("api"), CourierOptions(allow_private=True)
    with ApiServer(folder, api_keys=("one", "two"), courier=private) as running:
        yield running


@pytest.fixture(scope="module")
def table(server: ApiServer) -> list[Endpoint]:
    found = sorted(endpoints(routing(server.services, ApiOptions()).routes), key=str)
    assert len(found) > 20
    return found


def test_every_route_is_in_a_table_here(table: list[Endpoint]) -> None:
    names = {str(endpoint) for endpoint in table}
    assert names >= WITHOUT_IDS | BODIES.keys()
    for endpoint in table:
        if str(endpoint) not in WITHOUT_IDS | BODIES.keys():
            taken = set(re.findall(r"{(\w+)}", endpoint.path))
            assert taken, f"{endpoint}: name it in BODIES or WITHOUT_IDS"
            assert taken <= MAKERS.keys(), f"{endpoint}: say in MAKERS how to make {taken}"


def test_what_belongs_to_others_is_as_if_it_were_not(
    server: ApiServer, table: list[Endpoint]
) -> None:
    for endpoint in table:
        if str(endpoint) in WITHOUT_IDS:
            continue
        ids = endpoint.made(server)
        theirs = endpoint.ask(server, ids, STRANGER)
        nobodys = endpoint.ask(server, UNKNOWN, STRANGER)
        expected = 400 if str(endpoint) in REFUSED_WITH_400 else 404
        assert (theirs.status, nobodys.status) == (expected, expected), f"{endpoint}: {theirs}"
        told = theirs.body.decode()
        for name, one in ids.items():
            for word, unknown in zip(one.split(), UNKNOWN[name].split(), strict=True):
                told = told.replace(word, unknown)
        assert told == nobodys.body.decode(), endpoint
        # The same request is a right one: only who asks made the difference.
        assert endpoint.ask(server, ids, OWNER).status not in (400, 401, 404, 405), endpoint


def test_no_list_shows_what_belongs_to_others_nor_goes_on_after_it(
    server: ApiServer, table: list[Endpoint]
) -> None:
    ids = {name: MAKERS[name](server) for name in ("file_id", "batch_id")}
    lists = [
        endpoint
        for endpoint in table
        if endpoint.method == "GET" and str(endpoint) in WITHOUT_IDS and "/v1/" in endpoint.path
    ]
    seen = b""
    for endpoint in lists:
        seen += server.ask("GET", endpoint.path, headers=OWNER).body
        told = server.ask("GET", endpoint.path, headers=STRANGER)
        assert told.status == 200
        assert not any(one.encode() in told.body for one in ids.values()), endpoint
        for name, one in ids.items():
            after = server.ask("GET", f"{endpoint.path}?after={one}", headers=STRANGER)
            nobodys = server.ask("GET", f"{endpoint.path}?after={UNKNOWN[name]}", headers=STRANGER)
            assert after.status == nobodys.status, endpoint
            assert after.body.replace(one.encode(), UNKNOWN[name].encode()) == nobodys.body
    assert all(one.encode() in seen for one in ids.values())


CONDITIONS: list[dict[str, str]] = [
    {},
    {"range": "bytes=0-0"},
    {"range": "bytes=999-"},
    {"if-range": '"x"', "range": "bytes=0-0"},
    {"if-none-match": "*"},
    {"if-modified-since": "Thu, 01 Jan 1970 00:00:00 GMT"},
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("conditions", CONDITIONS, ids=str)
def test_no_condition_tells_whether_there_is_such_a_file(
    server: ApiServer, method: str, conditions: dict[str, str]
) -> None:
    theirs, nobodys = a_file(server), UNKNOWN["file_id"]
    for path in ("/openai/v1/files/{}/content", "/together/v1/files/{}/content", "/v1/files/{}"):
        asked = [
            server.ask(method, path.format(one), headers=conditions | STRANGER)
            for one in (theirs, nobodys)
        ]
        assert [reply.status for reply in asked] == [404, 404], path
        assert asked[0].body.replace(theirs.encode(), nobodys.encode()) == asked[1].body
        told = [reply.headers.keys() - {"date", "x-request-id"} for reply in asked]
        assert told[0] == told[1]
        assert not told[0] & {"etag", "last-modified", "content-range", "accept-ranges"}
        assert server.ask(method, path.format(theirs), headers=conditions | OWNER).status != 404


def a_part(server: ApiServer, who: Mapping[str, str]) -> tuple[str, str]:
    """An upload of three bytes, and the part that holds them."""
    wish = {"bytes": 3, "filename": "a", "purpose": "batch"}
    upload = str(server.post_json("/v1/uploads", wish, who).at("id"))
    body, headers = form({}, b"{}\n")
    body = body.replace(b'name="file"', b'name="data"')
    added = server.ask("POST", f"/v1/uploads/{upload}/parts", body, headers | dict(who))
    return upload, str(added.at("id"))


def test_a_file_is_not_made_of_the_parts_of_others(server: ApiServer) -> None:
    _, theirs = a_part(server, OWNER)
    mine, own = a_part(server, STRANGER)
    path = f"/v1/uploads/{mine}/complete"
    nobodys = f"part_{'0' * len(theirs.partition('_')[2])}"
    refused = [server.post_json(path, {"part_ids": [one]}, STRANGER) for one in (theirs, nobodys)]
    assert refused[0].status == refused[1].status == 400
    assert refused[0].body.replace(theirs.encode(), nobodys.encode()) == refused[1].body
    assert server.post_json(path, {"part_ids": [own]}, STRANGER).status == 200


def test_an_idempotency_key_is_its_tenants_own(server: ApiServer) -> None:
    named = {"idempotency-key": "the-same"}
    made = []
    for who in (OWNER, STRANGER):
        body, headers = form({"purpose": "batch"}, b"{}\n")
        file_id = server.ask("POST", "/v1/files", body, headers | who).at("id")
        wish = {"input_file_id": file_id, "endpoint": "/v1/chat/completions"}
        made.append(server.post_json("/v1/batches", wish, who | named))
    assert [reply.status for reply in made] == [200, 200]
    assert made[0].at("id") != made[1].at("id")


def test_bytes_that_others_have_uploaded_are_unknown(tmp_path: Path) -> None:
    """Or a checksum would tell whether somebody has a file, and get it."""
    options = FilesOptions(secret=b"s" * 32, deduplicate=True)
    with ApiServer(tmp_path, api_keys=("one", "two"), files=options) as server:
        data = b"{}\n"
        body, headers = form({"purpose": "batch-api"}, data)
        assert server.ask("POST", "/v1/files", body, headers | OWNER).status == 200
        announced = f"purpose=batch-api&file_name=a&checksum={hashlib.sha256(data).hexdigest()}"
        kind = {"content-type": "application/x-www-form-urlencoded"}
        wishes = [kind | OWNER, kind | STRANGER]
        replies = [server.ask("POST", "/v1/files", announced.encode(), who) for who in wishes]
        assert [reply.status for reply in replies] == [409, 302]


def test_a_link_of_others_is_confirmed_by_nobody_else(server: ApiServer) -> None:
    kind = {"content-type": "application/x-www-form-urlencoded"}
    made = server.ask("POST", "/v1/files", b"purpose=batch-api&file_name=a", kind | OWNER)
    path = f"/v1/files/{made.headers['x-together-file-id']}/preprocess"
    link = made.headers["location"].removeprefix(server.base_url)
    # Whoever has the link may put the bytes, and learns nothing by it.
    put = server.ask("PUT", link, b"{}\n", STRANGER)
    assert (put.status, put.body) == (200, b"")
    assert server.ask("POST", path, headers=STRANGER).status == 404
    assert server.ask("POST", path, headers=OWNER).status == 200


def test_keys_of_one_tenant_share_what_it_has(tmp_path: Path) -> None:
    with ApiServer(tmp_path) as server:
        for name in ("a", "b"):
            key = ApiKey(name, "team", f"on-{name}", None, 0.0)
            server.store(lambda tx, key=key: key_rows.add(tx, digest_of(f"on-{key.name}"), key))
        first, second = ({"authorization": f"Bearer on-{name}"} for name in ("a", "b"))
        body, headers = form({"purpose": "batch"}, b"{}\n")
        file_id = server.ask("POST", "/v1/files", body, headers | first).at("id")
        assert server.ask("GET", f"/v1/files/{file_id}", headers=second).at("id") == file_id
