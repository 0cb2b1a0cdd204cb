"""Which client is taken for which dialect, and where its paths lead."""

import pytest
from starlette.datastructures import Headers

from overnight.api.dialects import api_path
from overnight.domain.dialect import Dialect
from overnight.domain.errors import InvalidRequest

TOGETHER = [
    {"user-agent": "Together/v1 PythonBindings/1.5.35"},
    {"user-agent": "Together/Python 3.1.1"},
    {"user-agent": "AsyncTogether/Python 2.42.0"},
    {"user-agent": "Together/JS 0.52.0"},
    {"user-agent": "python-requests/2.32", "x-together-client-user-agent": "{}"},
    {"user-agent": "Mine/Python 3.52.0", "x-overnight-dialect": "Together"},
]
OPENAI = [
    {"user-agent": "OpenAI/Python 3.52.0"},
    {"user-agent": "AsyncOpenAI/Python 1.109.1"},
    {"user-agent": "_ModuleClient/Python 1.109.1"},
    {"user-agent": "AzureOpenAI/Python 3.52.0"},
    {"user-agent": "AsyncAzureOpenAI/Python 3.52.0"},
    {"user-agent": "OpenAI/JS 6.49.0"},
    {"user-agent": "Together/Python 3.1.1", "x-overnight-dialect": "openai"},
]
UNSAID = [
    {},
    {"user-agent": "Mine/Python 3.52.0"},
    {"user-agent": "curl/8.5 (like Together/Python)"},
]


@pytest.mark.parametrize("headers", TOGETHER, ids=str)
def test_together_clients(headers: dict[str, str]) -> None:
    for unsaid in Dialect:
        assert api_path("/v1/batches", Headers(headers), unsaid) == "/together/v1/batches"


@pytest.mark.parametrize("headers", OPENAI, ids=str)
def test_openai_clients(headers: dict[str, str]) -> None:
    for unsaid in Dialect:
        assert api_path("/v1/batches", Headers(headers), unsaid) == "/openai/v1/batches"


@pytest.mark.parametrize("headers", UNSAID, ids=str)
def test_with_all_others_it_is_for_us_to_say(headers: dict[str, str]) -> None:
    assert api_path("/v1/batches", Headers(headers)) == "/openai/v1/batches"
    unsaid = Dialect.TOGETHER
    assert api_path("/v1/batches", Headers(headers), unsaid) == "/together/v1/batches"
    assert api_path("/openai/v1/batches", Headers(headers), unsaid) == "/openai/v1/batches"
    assert api_path("/v1/uploads", Headers(headers), unsaid) == "/openai/v1/uploads"


@pytest.mark.parametrize(
    ("path", "rewritten"),
    [
        ("/v1/files", "/openai/v1/files"),
        ("/v1/v1/files", "/openai/v1/files"),
        ("/files", "/openai/v1/files"),
        ("/files/file-1/content", "/openai/v1/files/file-1/content"),
        ("/batches/batch_1", "/openai/v1/batches/batch_1"),
        ("/v1/files/", "/openai/v1/files"),
        ("/openai/files", "/openai/v1/files"),
        ("/openai/v1/files", "/openai/v1/files"),
        ("/openai/deployments/gpt/files", "/openai/v1/files"),
        ("/openai/deployments/gpt/batches/batch_1/cancel", "/openai/v1/batches/batch_1/cancel"),
        ("/together/v1/files", "/together/v1/files"),
        ("/together/v1/v1/files", "/together/v1/files"),
        ("/together/files", "/together/v1/files"),
        ("/v1/models", "/openai/v1/models"),
        ("/v1/uploads", "/openai/v1/uploads"),
        ("/v1/files/file-1/preprocess", "/together/v1/files/file-1/preprocess"),
        ("/v1/files/upload", "/together/v1/files/upload"),
        ("/v1/files/multipart/initiate", "/together/v1/files/multipart/initiate"),
    ],
)
def test_paths(path: str, rewritten: str) -> None:
    assert api_path(path, Headers({})) == rewritten


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/readyz", "/storage/a.b", "/v3/whoami", "/filesystem", "/v11/files"]
)
def test_paths_that_are_not_the_apis_are_left_alone(path: str) -> None:
    assert api_path(path, Headers({"user-agent": "Together/Python 3.1.1"})) is None


def test_a_prefix_beats_all_headers() -> None:
    headers = Headers({"user-agent": "Together/Python 3.1.1", "x-overnight-dialect": "together"})
    assert api_path("/openai/v1/files", headers) == "/openai/v1/files"


def test_a_file_announced_in_an_urlencoded_form_is_togethers_way() -> None:
    headers = Headers({"content-type": "application/x-www-form-urlencoded; charset=utf-8"})
    assert api_path("/v1/files", headers) == "/together/v1/files"
    assert api_path("/v1/batches", headers) == "/openai/v1/batches"


def test_an_unknown_dialect_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="'openai' or 'together', not 'mistral'"):
        api_path("/v1/files", Headers({"x-overnight-dialect": "mistral"}))
