"""Who is asking: a key tells the tenant, or, where there is no key, being on this machine does."""

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from overnight.api.faults import fault_reply
from overnight.api.links import STORAGE_PREFIX
from overnight.domain.address import is_loopback
from overnight.domain.errors import Forbidden, OvernightError, Unauthenticated
from overnight.service.keyring import LOCAL, Caller, Keyring

_PROBES: Final = frozenset({"/healthz", "/readyz"})
_REMEDY: Final = "`overnight keys create NAME` on the server makes one."


class Authentication:
    """ASGI layer: sets `state["caller"]` and `state["tenant"]`, or answers 401 or 403 before
    anything is read.

    While there is no key nobody is asked for one. With `loopback_only` callers from this machine
    alone are then taken, and of the browsers among them only pages that come from this machine
    too; without it anybody who reaches the port is let in.
    """

    def __init__(self, app: ASGIApp, keyring: Keyring, *, loopback_only: bool) -> None:
        self._app = app
        self._keyring = keyring
        self._loopback_only = loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _PROBES:
            try:
                caller = await self._caller(scope)
            except OvernightError as error:
                await fault_reply(error)(scope, receive, send)
                return
            scope["state"]["caller"] = caller
            scope["state"]["tenant"] = caller.tenant if caller else None
        await self._app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller | None:
        """None: whoever has a signed link."""
        headers = Headers(scope=scope)
        await self._keyring.refresh()
        if self._keyring.is_empty:
            if self._loopback_only:
                _demand_loopback(scope.get("client"), headers)
            return LOCAL
        # The link is a right of its own: the clients send no key with it.
        if scope["path"].startswith(STORAGE_PREFIX):
            return None
        key = _presented_key(headers)
        if key is None:
            raise Unauthenticated(f"No API key: send it as 'Authorization: Bearer KEY'; {_REMEDY}")
        return await self._keyring.caller(key)


def _presented_key(headers: Headers) -> str | None:
    """Azure's clients send `api-key` where all others send a bearer token."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("api-key")


def _demand_loopback(peer: tuple[str, int] | None, headers: Headers) -> None:
    """A web page reaches this port through its visitor's browser, under its own host name or
    as a foreign origin; neither is let in."""
    # The server does not know the peer of a connection that was reset before it was taken.
    if peer is None or not is_loopback(peer[0]):
        raise Forbidden(
            f"While the server has no API key it serves its own machine only; {_REMEDY}"
        )
    host = _host_name(f"//{headers.get('host', '')}")
    if not is_loopback(host):
        raise Forbidden(
            "While the server has no API key it is served as localhost only, not as "
            f"'{host[:80]}' (the Host header); {_REMEDY}",
            param="host",
        )
    origin = headers.get("origin")
    if origin is not None and not is_loopback(_host_name(origin)):
        raise Forbidden(
            "While the server has no API key no web page of another place may call it, such as "
            f"'{origin[:80]}' (the Origin header); {_REMEDY}",
            param="origin",
        )


def _host_name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
