"""A quick look at servers, with nothing but the standard library: are they up, what have they?"""

import errno
import http.client
import json
import socket
import ssl
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from overnight.domain.unix_url import is_unix_url, parse_unix_url, socket_trouble
from overnight.settings import UpstreamSettings

TIMEOUT_SECONDS: Final = 2.0

_NOT_YET: Final = "not reachable yet ({}): jobs will wait"
_BODY_BYTES_MAX: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class UpstreamView:
    url: str
    models: tuple[str, ...]
    trouble: str | None
    """Why it takes no requests now, for people; None when it does."""
    meant: str | None = None
    """The base that was meant, when this one seems to lack its `/v1`."""

    def __str__(self) -> str:
        return self.trouble or ", ".join(self.models) or "lists no models: takes every model"


def look_at(upstream: UpstreamSettings) -> UpstreamView:
    """Ask an upstream for its models; takes a few seconds at most."""
    try:
        status, body = get(f"{upstream.url}/models", headers_for(upstream))
    except (OSError, http.client.HTTPException) as error:
        return UpstreamView(upstream.url, upstream.models, _NOT_YET.format(reason(error)))
    if status in (401, 403):
        trouble = f"refuses the key ({status}): give one with --upstream-api-key"
        return UpstreamView(upstream.url, upstream.models, trouble)
    if status >= 500:
        return UpstreamView(upstream.url, upstream.models, _NOT_YET.format(f"answers {status}"))
    if status == 404 and (better := base_with_v1(upstream)):
        trouble = f"has no /models: the base seems to be {better}"
        return UpstreamView(upstream.url, upstream.models, trouble, better)
    return UpstreamView(upstream.url, upstream.models or model_names(body) or (), None)


def base_with_v1(
    upstream: UpstreamSettings, timeout_seconds: float = TIMEOUT_SECONDS
) -> str | None:
    """The URL that was meant where /models is not found: its `/v1` is easily left out."""
    if lacks_v1(upstream.url):
        better = f"{upstream.url}/v1"
        with suppress(OSError, http.client.HTTPException):
            status, body = get(f"{better}/models", headers_for(upstream), timeout_seconds)
            if status in (401, 403) or model_names(body):
                return better
    return None


def lacks_v1(url: str) -> bool:
    return not urlsplit(url).path.rstrip("/").endswith("/v1")


def headers_for(upstream: UpstreamSettings) -> dict[str, str]:
    headers = {"Accept": "application/json"}
    if upstream.api_key is not None:
        headers["Authorization"] = f"Bearer {upstream.api_key.get_secret_value()}"
    return headers


def get(
    url: str, headers: dict[str, str] | None = None, timeout_seconds: float = TIMEOUT_SECONDS
) -> tuple[int, bytes]:
    """Status and body. Raises `OSError` or `http.client.HTTPException`."""
    return _ask("GET", url, None, headers or {}, timeout_seconds)


def post(
    url: str, value: object, headers: dict[str, str], timeout_seconds: float
) -> tuple[int, bytes]:
    """As `get`, with a JSON body."""
    headers = headers | {"Content-Type": "application/json"}
    return _ask("POST", url, json.dumps(value).encode(), headers, timeout_seconds)


def _ask(
    method: str, url: str, body: bytes | None, headers: dict[str, str], timeout_seconds: float
) -> tuple[int, bytes]:
    connection, path = _connection(url, timeout_seconds)
    with closing(connection):
        connection.request(method, path or "/", body, headers)
        reply = connection.getresponse()
        return reply.status, reply.read(_BODY_BYTES_MAX)


def _connection(url: str, timeout_seconds: float) -> tuple[http.client.HTTPConnection, str]:
    """One that is not open yet, and what to ask for on it."""
    if is_unix_url(url):
        socket_path, path = parse_unix_url(url)
        return _UnixConnection(socket_path, timeout_seconds), path
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=timeout_seconds), parts.path


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, socket_path: str, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._socket_path = socket_path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self._socket_path)
        except OSError as error:
            number = error.errno
            if number == errno.ECONNREFUSED and not Path(self._socket_path).is_socket():
                # Linux refuses, where others tell what it is.
                number = errno.ENOTSOCK
            if trouble := socket_trouble(number):
                raise OSError(number, trouble) from error
            raise


def model_names(body: bytes) -> tuple[str, ...] | None:
    """From `{"data": [{"id": …}]}` or, as Together spells it, the list alone; None: neither.

    Names that could steer a terminal are left out: no request may ask for them.
    """
    try:
        listed = json.loads(body)
    except (ValueError, RecursionError):
        return None
    entries = listed.get("data") if isinstance(listed, dict) else listed
    if not isinstance(entries, list):
        return None
    names = (entry.get("id") for entry in entries if isinstance(entry, dict))
    return tuple(name for name in names if isinstance(name, str) and name.isprintable())


def reason(
    error: OSError | http.client.HTTPException, timeout_seconds: float = TIMEOUT_SECONDS
) -> str:
    """In a few words, such as `refuses connections`."""
    match error:
        case ConnectionRefusedError():
            return "refuses connections"
        case TimeoutError():
            return f"no answer within {timeout_seconds:g} s"
        case http.client.RemoteDisconnected() | ConnectionResetError():
            return "closes the connection without an answer"
        case ssl.SSLError():
            return f"TLS: {error.reason or error}"
        case OSError():
            return error.strerror or str(error)
        case _:
            return "does not speak HTTP"
