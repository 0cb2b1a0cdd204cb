"""URLs of servers behind a Unix socket: `unix:/run/vllm.sock`, with another base than `/v1`
`unix:/run/vllm.sock:/other`.

Spelt as in nginx's `proxy_pass` and gunicorn's `--bind`; Docker's `unix:///run/vllm.sock` is the
same. Written out, the base is always there, so that a path below it can be appended.
"""

import errno
from typing import Final, NamedTuple

_SCHEME: Final = "unix:"
_BASE: Final = "/v1"
_PATH_BYTES_MAX: Final = 107
"""Linux has room for that many in `sun_path`; other systems, with less, say so themselves."""


class UnixUrl(NamedTuple):
    """`base` is the path of the URL below the server: empty, or `/v1` and the like."""

    socket_path: str
    base: str

    def __str__(self) -> str:
        return f"{_SCHEME}{self.socket_path}:{self.base}"


def is_unix_url(url: str) -> bool:
    return url.startswith(_SCHEME)


def parse_unix_url(url: str) -> UnixUrl:
    """Raises `ValueError` for what is none, with a sentence that says what would be right."""
    path, colon, base = url.removeprefix(_SCHEME).partition(":")
    base = base.rstrip("/") if colon else _BASE
    path = "/" + path.lstrip("/") if path.startswith("/") else path
    if path in ("", "/"):
        raise ValueError(f"'{url}' names no socket; write it like unix:/run/vllm.sock")
    if not path.startswith("/"):
        raise ValueError(
            f"'{url}' should have the socket's whole path, which begins with a slash:"
            " unix:/run/vllm.sock"
        )
    if len(path) > _PATH_BYTES_MAX:
        raise ValueError(
            f"'{url}' has a path of {len(path)} bytes, and sockets have room for {_PATH_BYTES_MAX}"
        )
    if base and not base.startswith("/"):
        raise ValueError(
            f"'{url}' should have its base path behind the second colon: unix:{path}:/v1"
        )
    return UnixUrl(path, base)


def socket_trouble(number: int | None) -> str | None:
    """What an `errno` of connecting to a Unix socket means, to follow its URL; None: no more than
    with any other connection.
    """
    return _TROUBLES.get(number or 0)


_TROUBLES: Final = {
    errno.ENOENT: "has no such socket",
    errno.ENOTSOCK: "is a file, but no socket",
    errno.EACCES: "may not be opened by this user (permission denied)",
}
