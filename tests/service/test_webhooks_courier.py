"""One attempt: signed, bounded, and to nobody's private network."""

import asyncio
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from overnight.domain.errors import InvalidRequest
from overnight.domain.event import Event, EventType
from overnight.domain.job import JobStatus
from overnight.domain.webhook import Attempt, OldSecret, Webhook
from overnight.seams import Seams, SystemClock
from overnight.service.webhooks.courier import ANSWER_BYTES_MAX, Courier, CourierOptions
from support.dispatch_world import EvenChance
from support.fake_network import Drop, Respond, Silence
from support.hook_network import PUBLIC, HookNetwork
from support.hook_receiver import hook_receiver
from support.memory_disk import MemoryDisk
from support.virtual_time import InlineThreads, run_virtual

EVENT = Event.of_end("batch_0a", JobStatus.COMPLETED, 1_700_000_000.0)
NEW, OLD, OLDER = (f"whsec_{letter * 44}" for letter in "ABC")


def webhook(url: str = "https://hook.example/hook?a=b", *old: OldSecret) -> Webhook:
    return Webhook("we_1", "local", "n", url, tuple(EventType), NEW, 1.0, 1.0, old)


def send(network: HookNetwork, to: Webhook | None = None, **options: object) -> Attempt:
    """In virtual time, but signed as of now: verifiers look at the clock."""
    seams = Seams(
        SystemClock(), EvenChance(), network.connect, MemoryDisk(), InlineThreads, network.resolve
    )
    courier = Courier(seams, CourierOptions(**options))
    return run_virtual(courier.send(to or webhook(), EVENT))


def test_what_is_sent() -> None:
    network = HookNetwork()
    assert send(network) == Attempt(200)
    (hook,) = network.hooks
    assert hook.request_line == "POST /hook?a=b HTTP/1.1"
    assert hook.headers["host"] == "hook.example"
    assert hook.headers["content-type"] == "application/json"
    assert hook.body == EVENT.body()
    assert hook.id == EVENT.delivery_id("we_1")
    # The connection goes to the address that was looked at, the certificate is the name's.
    assert (hook.address, hook.server_name) == (PUBLIC, "hook.example")


def test_it_is_signed_with_every_valid_secret() -> None:
    network = HookNetwork()
    now = SystemClock().now()
    send(network, webhook("https://hook.example", OldSecret(OLD, now + 60), OldSecret(OLDER, now)))
    (hook,) = network.hooks
    for secret in (NEW, OLD):
        Verifier(secret).verify(hook.body, dict(hook.headers))
    with pytest.raises(WebhookVerificationError):
        Verifier(OLDER).verify(hook.body, dict(hook.headers))
    assert len(hook.headers["webhook-signature"].split(" ")) == 2


@pytest.mark.parametrize("status", [204, 301, 307, 400, 410, 500])
def test_a_status_is_told_and_no_redirect_followed(status: int) -> None:
    network = HookNetwork(answer=lambda _: Respond(status, b""))
    attempt = send(network)
    assert (attempt.status, attempt.acknowledged) == (status, status == 204)
    assert len(network.connected) == 1


def test_retry_after_is_passed_on() -> None:
    network = HookNetwork(answer=lambda _: Respond(429, b"", retry_after="120"))
    assert send(network) == Attempt(429, retry_after_seconds=120.0)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Silence(), "did not answer in time"),
        (Respond(after_seconds=3), "did not answer in time"),
        (Drop(), "closed the connection without an answer"),
        (Respond(200, b"x" * 2 * ANSWER_BYTES_MAX), "answered with more than 1,048,576 bytes"),
    ],
)
def test_no_answer_is_told_in_a_few_words(answer: Respond | Drop | Silence, error: str) -> None:
    assert send(HookNetwork(answer=lambda _: answer), timeout_seconds=2.0) == Attempt(error=error)


def test_nobody_listens() -> None:
    network = HookNetwork(refusing={PUBLIC})
    assert send(network) == Attempt(error="refuses connections")


def test_the_next_address_is_tried() -> None:
    network = HookNetwork({"hook.example": ["2606:4700::1", PUBLIC]}, refusing={"2606:4700::1"})
    assert send(network) == Attempt(200)
    assert network.connected == ["2606:4700::1", PUBLIC]


def test_a_name_without_an_address() -> None:
    assert send(HookNetwork({})) == Attempt(error="has no address: Name or service not known")


# Addresses


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.7"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        # One that is public does not excuse the others.
        [PUBLIC, "127.0.0.1"],
    ],
)
def test_private_addresses_are_not_connected_to(addresses: list[str]) -> None:
    network = HookNetwork({"hook.example": addresses})
    error = send(network).error
    assert error is not None
    assert "webhooks.allow_private" in error
    assert not any(address in error for address in addresses)
    assert network.connected == []
    assert send(network, allow_private=True) == Attempt(200)


def test_a_name_that_changes_its_address_is_resolved_once() -> None:
    network = HookNetwork()
    resolve = network.resolve

    async def rebinding(host: str, port: int) -> list[str]:
        found = await resolve(host, port)
        network.addresses["hook.example"] = ["127.0.0.1"]
        return found

    network.resolve = rebinding  # type: ignore[method-assign]
    assert send(network) == Attempt(200)
    assert network.connected == [PUBLIC]
    assert network.resolved == ["hook.example"]


@pytest.mark.parametrize(
    "url",
    [
        "http://hook.example/",
        "https://localhost/",
        "https://a.localhost./",
        "https://127.0.0.1/",
        "https://[::1]:8443/",
        "https://169.254.169.254/latest/meta-data",
    ],
)
def test_urls_for_the_own_network_only(url: str) -> None:
    closed, opened = (Courier(Seams(), CourierOptions(allow_private=allow)) for allow in (0, 1))
    with pytest.raises(InvalidRequest, match=r"webhooks\.allow_private") as refusal:
        closed.check(url)
    assert refusal.value.param == "url"
    opened.check(url)
    # Made while it was allowed, it is not sent to any more.
    network = HookNetwork()
    error = send(network, webhook(url)).error or ""
    assert "webhooks.allow_private" in error
    assert url not in error
    assert network.connected == network.resolved == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("hook.example", "write it like https://"),
        ("ftp://hook.example", "write it like https://"),
        ("https:///hook", "write it like https://"),
        ("https://hook.example:99999", "no web address"),
        ("https://[::1", "no web address"),
        ("https://me:secret@hook.example", "user or password"),
        ("https://hook.example/#top", "fragment"),
        ("https://hook.example/a b", "ASCII"),
        ("https://hook.example/\r\nx: y", "ASCII"),
        ("https://höök.example/", "ASCII"),
        ("https://hook.example/" + "x" * 2_048, "2,069 characters"),
        ("", "write it like https://"),
    ],
)
def test_what_is_no_url_is_refused(url: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        Courier(Seams(), CourierOptions(allow_private=True)).check(url)
    assert said in str(refusal.value)
    assert "secret" not in str(refusal.value)


# Over real sockets


def test_over_a_real_connection() -> None:
    with hook_receiver() as receiver:
        courier = Courier(Seams(), CourierOptions(allow_private=True))
        attempt = asyncio.run(courier.send(webhook(receiver.url), EVENT))
    assert attempt == Attempt(200)
    (hook,) = receiver.hooks
    assert hook.path == "/hook?from=overnight"
    assert hook.headers["host"] == f"127.0.0.1:{receiver.port}"
    Verifier(NEW).verify(hook.body, dict(hook.headers))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of `hook.example`, with its key in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "hook.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", "/CN=hook.example"),
            *("-addext", "subjectAltName=DNS:hook.example"),
            *("-keyout", path, "-out", f"{path}.crt"),
        ],
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@contextmanager
def tls_receiver(certificate: Path) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_certificates_are_held_against_the_name(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    def attempt(host: str, port: int) -> Attempt:
        courier = Courier(Seams(resolve=resolve), CourierOptions(allow_private=True))
        return asyncio.run(courier.send(webhook(f"https://{host}:{port}/"), EVENT))

    with tls_receiver(certificate) as port:
        untrusted = attempt("hook.example", port)
        monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
        trusted, other = attempt("hook.example", port), attempt("other.example", port)
    assert trusted == Attempt(204)
    for refused in (untrusted, other):
        assert refused.error is not None
        assert refused.error.startswith("fails TLS")
