"""Requests to one server: sent, sent again where that is right, failures put into words."""

import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Self
from urllib.parse import urljoin

import httpx2

from overnight.client.errors import ClientError
from overnight.client.failures import not_json, refused, unreachable
from overnight.client.retries import Retries
from overnight.client.server import Address, Server

_CONNECT_SECONDS: Final = 10.0

Make = Callable[[], httpx2.Request]
"""Makes a request anew for each try, its body from the start."""


class Transport:
    """Paths are those behind `/v1`. Every method raises `ClientError`.

    `repeatable` requests are sent again after any passing failure, and follow redirects; others
    only if the server can not have begun with them.
    """

    def __init__(self, server: Server, retries: Retries, headers: Mapping[str, str]) -> None:
        self.server = server
        self.address = Address.of(server)
        self.retries = retries
        self._headers = {"user-agent": "overnight-client"} | dict(headers)
        self._http = _open(self.address, self._timeout(server.timeout_seconds))

    @classmethod
    def to(cls, server: Server, retries: Retries) -> Self:
        address = Address.of(server)
        headers = {
            "accept": "application/json",
            # Overnight then need not guess; others do not look at it.
            "x-overnight-dialect": address.spelling,
        }
        return cls(server, retries, headers | _authorization(server.api_key))

    def elsewhere(self, url: str) -> "Transport":
        """To another server that this one named, without the key."""
        server = Server(urljoin(url, "/"), timeout_seconds=self.server.timeout_seconds)
        return Transport(server, self.retries, {})

    @property
    def upload_timeout(self) -> httpx2.Timeout:
        """After the last byte a server may have to copy or sync all of them."""
        return self._timeout(10 * self.server.timeout_seconds)

    def _timeout(self, answer_seconds: float) -> httpx2.Timeout:
        return httpx2.Timeout(
            self.server.timeout_seconds, connect=_CONNECT_SECONDS, read=answer_seconds
        )

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, query: Mapping[str, str | int] | None = None) -> object:
        """The JSON of a reply that means success, as for `post`."""
        make = self.request("GET", path, params=query or {})
        return self.json(self.send(make, repeatable=True))

    def post(
        self, path: str, headers: Mapping[str, str] | None = None, **content: object
    ) -> object:
        return self.json(self.send(self.request("POST", path, headers, **content)))

    def delete(self, path: str) -> None:
        self.expect_success(self.send(self.request("DELETE", path)))

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        **content: object,
    ) -> Make:
        """`path` may also be a whole URL; `content` is what `httpx2` takes."""
        url = self.address.url + path if path.startswith("/") else path
        build: Callable[..., httpx2.Request] = self._http.build_request
        merged = self._headers | dict(headers or {})
        return lambda: build(method, url, headers=merged, **content)

    def send(self, make: Make, *, repeatable: bool = False) -> httpx2.Response:
        """A whole reply of any status."""
        return self._exchange(make, repeatable=repeatable, stream=False)

    @contextmanager
    def stream(self, make: Make) -> Iterator[httpx2.Response]:
        """A reply to a repeatable request that means success, its body still to be read."""
        reply = self._exchange(make, repeatable=True, stream=True)
        try:
            if not reply.is_success:
                self._read(reply)
            yield self.expect_success(reply)
        finally:
            reply.close()

    def _exchange(self, make: Make, *, repeatable: bool, stream: bool) -> httpx2.Response:
        tries = 0
        while True:
            tries += 1
            try:
                reply = self._http.send(make(), stream=stream, follow_redirects=repeatable)
            except httpx2.RequestError as error:
                wait = self.retries.after_error(error, tries, repeatable=repeatable)
                if wait is None:
                    raise unreachable(error, self.address) from error
            else:
                wait = self.retries.after_reply(reply, tries, repeatable=repeatable)
                if wait is None:
                    return reply
                reply.close()
            self.retries.sleep(wait)

    def _read(self, reply: httpx2.Response) -> None:
        try:
            reply.read()
        except httpx2.RequestError as error:
            raise unreachable(error, self.address) from error

    def expect_success(self, reply: httpx2.Response) -> httpx2.Response:
        """The reply itself; raises `Refused` for what is no 2xx."""
        if not reply.is_success:
            raise refused(reply, self.address)
        return reply

    def json(self, reply: httpx2.Response) -> object:
        try:
            return self.expect_success(reply).json()
        except (ValueError, RecursionError) as error:
            raise not_json(reply, self.address) from error


def _open(address: Address, timeout: httpx2.Timeout) -> httpx2.Client:
    # Loading the trusted authorities takes longer than a request to this machine, where plain
    # HTTP has no use for them; a context without any trusts nobody.
    needs_authorities = not (address.is_loopback and address.url.startswith("http://"))
    tls = _authorities() if needs_authorities else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        # A proxy is not meant for this machine, whatever the environment leaves out of NO_PROXY.
        return httpx2.Client(verify=tls, trust_env=not address.is_loopback, timeout=timeout)
    except ImportError as error:
        raise ClientError(
            "The environment names a SOCKS proxy, and the package socksio is not installed.",
            f"Install it, unset ALL_PROXY, or add {address.host} to NO_PROXY.",
        ) from error
    except (ValueError, httpx2.InvalidURL) as error:
        raise ClientError(
            f"The environment names a proxy that can not be used: {error}.",
            f"Check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, or add {address.host} to NO_PROXY.",
        ) from error


def _authorities() -> ssl.SSLContext:
    try:
        return httpx2.create_ssl_context()
    except OSError as error:
        raise ClientError(
            f"The certificates to trust can not be loaded: {error.strerror or error}.",
            "Check SSL_CERT_FILE and SSL_CERT_DIR.",
        ) from error


def _authorization(api_key: str | None) -> dict[str, str]:
    key = (api_key or "").strip()
    if not (key.isascii() and key.isprintable()) and key:
        raise ClientError(
            "The API key has characters that no HTTP header can carry.",
            "Check --api-key or OVERNIGHT_API_KEY.",
        )
    return {"authorization": f"Bearer {key}"} if key else {}
