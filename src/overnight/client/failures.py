"""What went wrong, in words: which server, what it answered, and what to try."""

import json
import re
import socket
import ssl
from http import HTTPStatus
from typing import Final

import httpx2

from overnight.client.errors import BadReply, ClientError, Refused, Unreachable
from overnight.client.retries import causes
from overnight.client.server import Address, is_loopback

_ASK_FOR_BASE_URL: Final = (
    "Is this the base URL of a batch API? Give one with --base-url or OVERNIGHT_BASE_URL."
)
_SHOWN_MAX: Final = 500

_NO_ID_IN_PATH: Final = re.compile(r"/(files|batches)$")
_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


def unreachable(error: httpx2.RequestError, address: Address) -> Unreachable:
    """No answer came."""
    server = address.name
    for cause in causes(error):
        match cause:
            case socket.gaierror():
                return Unreachable(
                    f"{server}: there is no host '{address.host}' ({cause.strerror}).",
                    "Check the base URL and the network.",
                )
            case ssl.SSLCertVerificationError():
                return Unreachable(
                    f"{server}: its certificate is not trusted: {cause.verify_message}.",
                    "If it is your own authority's, name its file in SSL_CERT_FILE.",
                )
            case ssl.SSLError():
                return Unreachable(
                    f"{server}: TLS failed: {cause.reason or cause}.",
                    "Does this server speak plain HTTP? Then write http:// in the base URL.",
                )
            case ConnectionRefusedError():
                return Unreachable(f"{server} refused the connection.", _refused_hint(address))
    return _cut(error, address)


def _refused_hint(address: Address) -> str:
    if is_loopback(address.host):
        return (
            "Is `overnight serve` running? Another server is named with --base-url or"
            " OVERNIGHT_BASE_URL."
        )
    return "Is the server running, and is this its port?"


def _cut(error: httpx2.RequestError, address: Address) -> Unreachable:
    server = address.name
    match error:
        case httpx2.ConnectTimeout():
            return Unreachable(
                f"{server}: no connection in time.", "Check the base URL and the network."
            )
        case httpx2.TimeoutException():
            return Unreachable(f"{server} did not answer in time.", "Try again later.")
        case httpx2.ProxyError():
            return Unreachable(
                f"{server}: the proxy did not let us through: {error}.",
                f"Check HTTP_PROXY and HTTPS_PROXY, or add {address.host} to NO_PROXY.",
            )
        case httpx2.LocalProtocolError():
            return Unreachable(
                f"{server}: the request could not be sent: {error}.",
                "Was the file changed while it was being sent?",
            )
        case httpx2.ConnectError():
            return Unreachable(
                f"{server}: no connection: {error}.", "Check the base URL and the network."
            )
    hint = "Try again."
    if isinstance(error, httpx2.RemoteProtocolError) and address.url.startswith("http://"):
        hint = "Try again; if it stays so: does the server want https:// in the base URL?"
    return Unreachable(f"{server} cut the connection: {str(error) or type(error).__name__}.", hint)


def refused(reply: httpx2.Response, address: Address) -> ClientError:
    """The server answered with an error; the reply has been read."""
    status = reply.status_code
    told, code = _told(reply)
    request_id = reply.headers.get("x-request-id")
    named = [
        f"{name} {_shorten(value)}"
        for name, value in (("code", code), ("request", request_id))
        if value
    ]
    message = f"{address.name} answered {status}{_phrase(status)}"
    message += f": {told}" if told else "."
    message += f" ({', '.join(named)})" if named else ""
    hint = _hint(reply, code)
    return Refused(message, hint, status=status, code=code, request_id=request_id)


def not_json(reply: httpx2.Response, address: Address) -> BadReply:
    kind = _shorten(reply.headers.get("content-type", "").split(";")[0]) or "something"
    what = "an HTML page" if kind == "text/html" else f"{kind} that is no JSON"
    if kind == "application/json":
        what = "what is no JSON"
    return BadReply(f"{address.name} answered {reply.status_code} with {what}.", _ASK_FOR_BASE_URL)


def lacking(what: str, field: str, address: Address) -> BadReply:
    return BadReply(f"{address.name} answered with a {what} without '{field}'.", _ASK_FOR_BASE_URL)


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def _told(reply: httpx2.Response) -> tuple[str, str | None]:
    """The server's own words and its code, in any of the shapes that servers use."""
    try:
        body = json.loads(reply.content)
    except (ValueError, RecursionError):
        return _plain_words(reply), None
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return _shorten(str(error)), None
    words = error.get("message") or error.get("detail") or error.get("error")
    code = error.get("code")
    told = words if isinstance(words, str) else json.dumps(words or error)
    return _shorten(told), None if code is None else str(code)


def _plain_words(reply: httpx2.Response) -> str:
    text = reply.content[: 64 * 1024].decode(errors="replace")
    if "<html" in text[:1000].lower():
        title = _TITLE.search(text)
        return f"an HTML page{f' “{_shorten(title[1])}”' if title else ''}."
    return _shorten(text)


def _shorten(text: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _SHOWN_MAX else line[:_SHOWN_MAX] + "…"


def _hint(reply: httpx2.Response, code: str | None) -> str | None:
    status = reply.status_code
    if 300 <= status < 400:
        target = _shorten(reply.headers.get("location", ""))
        return f"It points to {target}: give the base URL that belongs to it." if target else None
    match status:
        case 401 if "authorization" in reply.request.headers:
            return "It does not take this key: check --api-key or OVERNIGHT_API_KEY."
        case 401:
            return "Give a key with --api-key or OVERNIGHT_API_KEY."
        case 404 | 405 if (
            _NO_ID_IN_PATH.search(reply.request.url.path)
            or code == "unknown_url"
            or "json" not in reply.headers.get("content-type", "")
        ):
            return _ASK_FOR_BASE_URL
        case 429 | 502 | 503 | 504:
            return "Try again later."
    return None
