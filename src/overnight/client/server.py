"""Which server is meant, and how it spells things."""

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, Literal
from urllib.parse import urlsplit

import httpx2

from overnight.client.errors import ClientError

Spelling = Literal["openai", "together"]

_TOGETHER_HOSTS: Final = ("together.ai", "together.xyz")


@dataclass(frozen=True, slots=True)
class Server:
    """Where a batch API is: `base_url` with or without `/v1`; a path before it is kept.

    "auto" is Together's dialect for Together's hosts and for a path that names it, such as
    `/together/v1`; everything else is OpenAI's, which an Overnight server speaks too.
    """

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    dialect: Literal["auto", "openai", "together"] = "auto"
    timeout_seconds: float = 60.0
    """How long it may say nothing; after an upload's last byte ten times as long."""


@dataclass(frozen=True, slots=True)
class Address:
    """A base URL that has been understood."""

    url: str
    """What paths such as `/files` are put behind; ends in `/v1`, may hold a password."""
    name: str
    """What people are shown: the same without user, password and `/v1`."""
    host: str
    spelling: Spelling

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)

    @classmethod
    def of(cls, server: Server) -> "Address":
        """Raises `ClientError` for what is no base URL."""
        given = server.base_url.strip()
        try:
            parts = urlsplit(given)
            host, port = parts.hostname, parts.port
            httpx2.URL(given)
            (host or "").encode("idna")
        except (ValueError, httpx2.InvalidURL) as error:
            raise _not_a_base_url(given, str(error)) from error
        if parts.scheme not in ("http", "https") or not host:
            raise _not_a_base_url(given, "it has to begin with http:// or https:// and a host")
        if parts.query or parts.fragment:
            raise _not_a_base_url(given, "nothing may follow its path")
        path = parts.path.rstrip("/")
        prefix = path.removesuffix("/v1")
        shown_host = f"[{host}]" if ":" in host else host
        shown = shown_host if port is None else f"{shown_host}:{port}"
        return cls(
            url=f"{parts.scheme}://{parts.netloc}{prefix}/v1",
            name=f"{parts.scheme}://{shown}{prefix}",
            host=host,
            spelling=_spelling(server, host, prefix),
        )


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _spelling(server: Server, host: str, prefix: str) -> Spelling:
    if server.dialect != "auto":
        return server.dialect
    is_theirs = any(host == name or host.endswith(f".{name}") for name in _TOGETHER_HOSTS)
    return "together" if is_theirs or "together" in prefix.split("/") else "openai"


def _not_a_base_url(given: str, why: str) -> ClientError:
    shown = given.rsplit("@", 1)[-1]
    return ClientError(
        f"'{shown}' is not a base URL: {why}.", "Give one such as http://127.0.0.1:8024/v1."
    )
