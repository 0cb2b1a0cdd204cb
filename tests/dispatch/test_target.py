"""Upstream URLs, taken apart."""

import ssl

import pytest

from overnight.dispatch.target import Target
from overnight.domain.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "authority"),
    [
        ("http://127.0.0.1:8000/v1", "127.0.0.1", 8000, "/v1", "127.0.0.1:8000"),
        ("http://gpu/v1/", "gpu", 80, "/v1", "gpu"),
        ("https://api.example.com", "api.example.com", 443, "", "api.example.com"),
        ("http://[::1]:9/v1", "::1", 9, "/v1", "[::1]:9"),
        ("http://me:secret@gpu:9/v1", "gpu", 9, "/v1", "gpu:9"),
    ],
)
def test_a_url_is_taken_apart(url: str, host: str, port: int, path: str, authority: str) -> None:
    target = Target.parse(url)
    assert (target.host, target.port, target.path, target.authority) == (
        host,
        port,
        path,
        authority,
    )
    assert (target.tls is not None) == url.startswith("https")


def test_certificates_are_verified() -> None:
    tls = Target.parse("https://api.example.com").tls
    assert tls is not None
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert tls.check_hostname


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000/v1",
        "ftp://host/v1",
        "http:///v1",
        "http://host:99999/v1",
        "http://host:x/v1",
        "http://a..b/v1",
        f"http://{'a' * 70}/v1",
        "http://ho st/v1",
        "http://host/v 1",
        "http://host/€",
        "",
    ],
)
def test_what_is_no_url_is_refused_by_name(url: str) -> None:
    with pytest.raises(ConfigurationError, match="upstream"):
        Target.parse(url)
