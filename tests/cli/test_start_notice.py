"""What serve says of itself and of its upstreams; the upstreams are real servers."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from overnight.cli.probe import look_at
from overnight.cli.start_notice import announce, notice
from overnight.settings import Settings, UpstreamSettings
from support.sim import running_sim


@contextmanager
def server(status: int, body: object) -> Iterator[tuple[str, list[str | None]]]:
    """Answers every GET alike; yields its base URL and the `Authorization` it gets."""
    keys: list[str | None] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys.append(self.headers["Authorization"])
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}", keys
        listening.shutdown()
        thread.join()


def upstream(url: str, **values: object) -> UpstreamSettings:
    return UpstreamSettings.model_validate({"url": url, **values})


def test_models_are_listed() -> None:
    with server(200, {"data": [{"id": "a"}, {"id": "b"}, {"x": 1}]}) as (url, keys):
        view = look_at(upstream(f"{url}/v1", api_key="k"))
        assert (str(view), view.trouble) == ("a, b", None)
        assert keys == ["Bearer k"]
        assert str(look_at(upstream(url, models=["c"]))) == "c"


def test_models_as_a_bare_list() -> None:
    with server(200, [{"id": "a"}]) as (url, _):
        assert look_at(upstream(url)).models == ("a",)


def test_no_list_means_every_model() -> None:
    for status, body in ((404, {}), (200, "x"), (200, {"data": 3})):
        with server(status, body) as (url, _):
            assert str(look_at(upstream(url))) == "lists no models: takes every model"


def test_a_base_without_its_v1() -> None:
    with running_sim() as engine:
        view = look_at(upstream(engine.base_url.removesuffix("/v1")))
    assert view.meant == engine.base_url
    assert str(view) == f"has no /models: the base seems to be {engine.base_url}"


def test_trouble_is_named() -> None:
    with server(401, {}) as (url, _):
        assert "--upstream-api-key" in str(look_at(upstream(url)))
    with server(503, {}) as (url, _):
        assert str(look_at(upstream(url))) == "not reachable yet (answers 503): jobs will wait"
    refused = "not reachable yet (refuses connections): jobs will wait"
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert str(look_at(upstream(f"http://127.0.0.1:{bound.getsockname()[1]}"))) == refused


def test_notice_is_ready_to_paste() -> None:
    with server(200, {"data": [{"id": "a"}]}) as (url, _):
        views = [look_at(upstream(url))]
    text = notice(Settings(port=9), views, needs_key=False)
    lines = [line.strip() for line in text.splitlines()]
    assert 'openai, together 1.x and 2.x:  base_url="http://127.0.0.1:9/v1"' in lines
    assert 'together 3.x:                  base_url="http://127.0.0.1:9"' in lines
    assert "api_key: any text (no key is needed)" in lines
    assert f"{url}  a" in lines


def test_announce_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    with server(200, {}) as (url, _):
        settings = Settings(port=int(url.rpartition(":")[2]))
        announce(settings, lambda: {"api": [1]}, as_json=True)
    line = json.loads(capsys.readouterr().out)
    assert (line["url"], line["pids"]) == (url, {"api": [1]})
