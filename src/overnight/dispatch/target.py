"""Where requests go: an upstream's URL taken apart, and the heads of what is sent there."""

import ssl
from urllib.parse import urlsplit

import msgspec

from overnight.domain.errors import ConfigurationError
from overnight.domain.unix_url import is_unix_url, parse_unix_url


class Target(msgspec.Struct, frozen=True):
    """A base URL, and the headers that go along with each request."""

    url: str
    host: str
    port: int
    path: str
    authority: str
    tls: ssl.SSLContext | None = None
    api_key: str | None = None
    """Sent as a bearer token."""
    address: str | None = None
    """Connected to in place of `host`, which is not resolved then."""
    socket_path: str | None = None
    """A Unix socket, connected to in place of both."""

    @classmethod
    def parse(cls, url: str, api_key: str | None = None) -> "Target":
        """Take `http://host:port/v1` apart, or `unix:/path/to/socket:/v1`; raises
        `ConfigurationError` for anything else.
        """
        if not _is_plain(url):
            raise ConfigurationError(
                f"upstream {url!r} is not a URL: only printable ASCII without spaces can be one"
            )
        if api_key and not _is_plain(api_key):
            raise ConfigurationError(
                f"the API key of upstream {url!r} has characters that no HTTP header can carry"
            )
        if is_unix_url(url):
            return cls._behind_socket(url, api_key)
        try:
            parts = urlsplit(url)
            port = parts.port
            (parts.hostname or "").encode("idna")
        except ValueError as error:
            raise ConfigurationError(f"upstream {url!r} is not a URL: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                f"upstream {url!r} is not an HTTP URL;"
                " expected something like http://127.0.0.1:8000/v1"
            )
        secure = parts.scheme == "https"
        return cls(
            url=url.rstrip("/"),
            host=parts.hostname,
            port=port or (443 if secure else 80),
            path=parts.path.rstrip("/"),
            authority=parts.netloc.rpartition("@")[2],
            tls=ssl.create_default_context() if secure else None,
            api_key=api_key or None,
        )

    @classmethod
    def _behind_socket(cls, url: str, api_key: str | None) -> "Target":
        try:
            socket_path, base = parsed = parse_unix_url(url)
        except ValueError as error:
            raise ConfigurationError(f"upstream {error}") from error
        return cls(
            url=str(parsed),
            host="localhost",
            port=80,
            path=base,
            authority="localhost",
            api_key=api_key or None,
            socket_path=socket_path,
        )

    def post_head(self, path: str) -> bytes:
        """The head of a POST of JSON to `path` below the base, up to Content-Length's value."""
        return self._head("POST", path) + b"Content-Type: application/json\r\nContent-Length: "

    def get(self, path: str) -> bytes:
        """A whole GET request for `path` below the base."""
        return self._head("GET", path) + b"\r\n"

    def _head(self, method: str, path: str) -> bytes:
        lines = [
            f"{method} {self.path}{path} HTTP/1.1",
            f"Host: {self.authority}",
            "User-Agent: overnight",
            "Accept: application/json",
            # Without this line a server may compress as it likes (RFC 9110 §12.5.3).
            "Accept-Encoding: identity",
        ]
        if self.api_key:
            lines.append(f"Authorization: Bearer {self.api_key}")
        return "".join(line + "\r\n" for line in lines).encode("latin-1")


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text
