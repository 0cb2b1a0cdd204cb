"""Who is asking: a key tells the tenant, or, with no key configured, being on this machine does."""

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from overnight.api.faults import fault_reply
from overnight.domain.errors import CallerFault, Forbidden, Unauthenticated

LOCAL_TENANT: Final = "local"

_PROBES: Final = frozenset({"/healthz", "/readyz"})
_SIGNED_PREFIX: Final = "/storage/"
"""These URLs are their own right: the clients send no key with them."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may come in.

    `open_mode` asks for no key. `loopback_only` then takes callers from this machine alone, and
    of the browsers among them only pages that come from this machine too; without it anybody
    who reaches the port is let in.
    """

    api_keys: tuple[str, ...] = ()
    open_mode: bool = True
    loopback_only: bool = True


class Keyring:
    """The keys that open the door, each with the tenant whose files and jobs it shows."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._tenants = {_digest(key): f"key-{_digest(key).hex()[:12]}" for key in keys}

    def tenant_of(self, key: str) -> str | None:
        """Takes as long for a wrong key as for a right one."""
        presented = _digest(key)
        found = None
        for digest, tenant in self._tenants.items():
            if hmac.compare_digest(digest, presented):
                found = tenant
        return found


class Authentication:
    """ASGI layer: sets `state["tenant"]`, or answers 401 or 403 before anything is read."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._keyring = Keyring(access.api_keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _PROBES:
            try:
                scope["state"]["tenant"] = self._tenant(scope)
            except CallerFault as error:
                await fault_reply(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _tenant(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        if self._access.open_mode:
            if self._access.loopback_only:
                _demand_loopback(scope.get("client"), headers)
            return LOCAL_TENANT
        if scope["path"].startswith(_SIGNED_PREFIX):
            return None
        key = _presented_key(headers)
        if key is None:
            raise Unauthenticated("No API key: send it as 'Authorization: Bearer KEY'.")
        tenant = self._keyring.tenant_of(key)
        if tenant is None:
            raise Unauthenticated("The API key is not one of this server's.")
        return tenant


def _presented_key(headers: Headers) -> str | None:
    """Azure's clients send `api-key` where all others send a bearer token."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("api-key")


def _demand_loopback(peer: tuple[str, int] | None, headers: Headers) -> None:
    """A web page reaches this port through its visitor's browser, under its own host name or
    as a foreign origin; neither is let in."""
    if peer is not None and not _is_loopback(peer[0]):
        raise Forbidden("Without an API key only this machine is served.")
    host = _host_name(f"//{headers.get('host', '')}")
    if not _is_loopback(host):
        raise Forbidden(
            f"Without an API key the Host must be localhost, not '{host[:80]}'.", param="host"
        )
    origin = headers.get("origin")
    if origin is not None and not _is_loopback(_host_name(origin)):
        raise Forbidden(
            f"Without an API key pages of '{origin[:80]}' are not served.", param="origin"
        )


def _host_name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
