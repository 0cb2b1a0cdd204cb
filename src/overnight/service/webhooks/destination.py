"""What may be the URL of a webhook."""

from typing import Final
from urllib.parse import SplitResult, urlsplit

from overnight.domain.address import is_loopback, is_public
from overnight.domain.errors import InvalidRequest

_CHARACTERS_MAX: Final = 2_048


def checked_url(url: str, *, allow_private: bool) -> SplitResult:
    """The URL taken apart; raises `InvalidRequest` when nothing may be sent to it.

    What a name stands for is looked at each time something is sent; here only what the URL itself
    says. Plain HTTP is for the own network.
    """
    parts = _split(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _refusal(f"'{url[:80]}' is no web address; write it like https://example.com/hook.")
    if parts.username is not None or parts.password is not None:
        # It is not repeated, for what it holds is a secret.
        raise _refusal("The URL holds a user or password; deliveries are signed instead.")
    if parts.fragment:
        raise _refusal(f"'{url[:80]}' has a fragment ('#…'), which is never sent; leave it out.")
    if allow_private:
        return parts
    if parts.scheme != "https":
        raise _refusal(
            f"'{url[:80]}' should begin with https://; plain HTTP needs the setting "
            "webhooks.allow_private."
        )
    if not _may_be_public(parts.hostname):
        raise _refusal(
            f"'{parts.hostname[:80]}' is this machine or in a private network; to send there "
            "needs the setting webhooks.allow_private.",
            code="private_address",
        )
    return parts


def _split(url: str) -> SplitResult:
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise _refusal("The URL should be printable ASCII without spaces; encode the rest.")
    if len(url) > _CHARACTERS_MAX:
        raise _refusal(f"The URL has {len(url):,} characters; at most {_CHARACTERS_MAX:,} may.")
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError when it is no port
        (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise _refusal(f"'{url[:80]}' is no web address: {error}.") from error
    return parts


def _may_be_public(host: str) -> bool:
    """False for an address that is not, and for names that always mean this machine."""
    host = host.rstrip(".")
    try:
        return not is_loopback(host) and is_public(host)
    except ValueError:
        return True


def _refusal(message: str, code: str = "invalid_url") -> InvalidRequest:
    return InvalidRequest(message, param="url", code=code)
