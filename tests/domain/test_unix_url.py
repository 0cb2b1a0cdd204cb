"""`unix:` URLs, taken apart and written out."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.domain.unix_url import UnixUrl, is_unix_url, parse_unix_url, socket_trouble


@pytest.mark.parametrize(
    ("url", "socket_path", "base"),
    [
        ("unix:/run/vllm.sock", "/run/vllm.sock", "/v1"),
        ("unix:///run/vllm.sock", "/run/vllm.sock", "/v1"),
        ("unix:/run/vllm.sock:/v1/", "/run/vllm.sock", "/v1"),
        ("unix:/run/vllm.sock:/api/v3", "/run/vllm.sock", "/api/v3"),
        ("unix:/run/vllm.sock:/", "/run/vllm.sock", ""),
        ("unix:/run/vllm.sock:", "/run/vllm.sock", ""),
    ],
)
def test_a_url_is_a_socket_and_a_base(url: str, socket_path: str, base: str) -> None:
    assert is_unix_url(url)
    assert parse_unix_url(url) == UnixUrl(socket_path, base)


path = st.text("ab.-_/", min_size=1, max_size=50).map(lambda text: f"/{text.strip('/')}x")


@given(socket_path=path, base=st.just("") | path)
def test_what_is_written_out_is_read_again_and_can_be_appended_to(
    socket_path: str, base: str
) -> None:
    written = str(UnixUrl(socket_path, base))
    assert parse_unix_url(written) == UnixUrl(socket_path, base)
    assert parse_unix_url(f"{written}/models") == UnixUrl(socket_path, f"{base}/models")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("unix:", "write it like unix:/run/vllm.sock"),
        ("unix://", "names no socket"),
        ("unix::/v1", "names no socket"),
        ("unix:vllm.sock", "begins with a slash"),
        ("unix:/run/vllm.sock:v1", "unix:/run/vllm.sock:/v1"),
        (f"unix:/{'a' * 107}", "has a path of 108 bytes, and sockets have room for 107"),
    ],
)
def test_what_is_none_is_told_what_would_be_right(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_unix_url(url)
    assert words in str(caught.value)


def test_only_what_is_particular_to_sockets_has_words_of_its_own() -> None:
    assert socket_trouble(errno.ENOENT) == "has no such socket"
    assert "permission" in (socket_trouble(errno.EACCES) or "")
    assert socket_trouble(errno.ECONNREFUSED) is None
    assert socket_trouble(None) is None
