"""Absolute addresses of ours, as a client can reach them: the SDKs take no others."""

from typing import Final

from starlette.requests import Request

STORAGE_PREFIX: Final = "/storage/"
"""What follows it in a path is a right of its own, and therefore a secret."""


def storage_link(request: Request, public_url: str | None, path: str) -> str:
    """Where `path` of the storage lies: under `public_url`, or else where the request came to."""
    return f"{_base(request, public_url)}{STORAGE_PREFIX}{path}"


def _base(request: Request, public_url: str | None) -> str:
    if public_url is not None:
        return public_url.rstrip("/")
    scheme = _first(request, "x-forwarded-proto") or request.url.scheme
    host = _first(request, "x-forwarded-host") or request.url.netloc
    return f"{scheme}://{host}"


def _first(request: Request, header: str) -> str:
    return request.headers.get(header, "").split(",")[0].strip()
