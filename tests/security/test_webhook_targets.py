"""A tenant can not make the service ask its own machine or network, however it spells them.

The names here are resolved by the system itself: some of them only its resolver takes for an
address.
"""

import socket
from collections.abc import Iterator

import pytest

from support.api_server import ApiServer, Reply

ENDPOINTS = "/v1/webhook_endpoints"

SPELLINGS = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "017700000001",
    "0177.0.0.1",
    "127.0.0.1.",
    "127.255.255.254",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "0.0.0.0",
    "0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "224.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """On all addresses of this machine; nobody should come."""
    with socket.create_server(("", 0)) as listening:
        listening.setblocking(False)
        yield listening


def told(server: ApiServer, url: str) -> Reply:
    """What comes of making a webhook with this URL and asking for a test of it."""
    wish = {"name": "a", "url": url, "event_types": ["batch.completed"]}
    made = server.post_json(ENDPOINTS, wish)
    if made.status != 200:
        return made
    path = f"{ENDPOINTS}/{made.at('id')}"
    reply = server.post_json(f"{path}/test", {"event_type": "batch.completed"})
    assert server.ask("DELETE", path).status == 200
    return reply


@pytest.mark.parametrize("host", SPELLINGS)
def test_the_own_network_is_not_asked(
    server: ApiServer, listener: socket.socket, host: str
) -> None:
    port = listener.getsockname()[1]
    reply = told(server, f"https://{host}:{port}/latest/meta-data")
    assert reply.status == 400, reply
    message = str(reply.at("error", "message"))
    # Some systems' resolvers know fewer spellings than others.
    assert "webhooks.allow_private" in message or "has no address" in message
    assert "refuses" not in message
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize(
    "url",
    [
        "http://hook.example/",
        "ftp://hook.example/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "https://user:secret@hook.example/",
        "https://127.0.0.1\\@hook.example/",
        "https://hook.example/\r\nX-Evil: 1",
        "https://hook.example/ HTTP/1.1",
        "https:///path",
        "https://hook.example:99999/",
        "https://h\u00f6ok.example/",
        "//hook.example/",
        "javascript:alert(1)",
    ],
)
def test_only_web_addresses_are_taken(server: ApiServer, url: str) -> None:
    refused = told(server, url)
    assert (refused.status, refused.at("error", "param")) == (400, "url"), refused
    assert "secret" not in str(refused.at("error", "message"))


def test_a_change_of_the_url_is_looked_at_as_well(server: ApiServer) -> None:
    wish = {"name": "a", "url": "https://hook.example/", "event_types": ["batch.completed"]}
    path = f"{ENDPOINTS}/{server.post_json(ENDPOINTS, wish).at('id')}"
    refused = server.post_json(path, {"url": "https://127.0.0.1/"})
    assert (refused.status, refused.at("error", "code")) == (400, "private_address")
