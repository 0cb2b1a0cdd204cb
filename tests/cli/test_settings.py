"""Where values come from, what is refused and in which words."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.domain.errors import ConfigurationError
from overnight.settings import (
    Assignment,
    Settings,
    UpstreamSettings,
    checked_base_url,
    checked_upstream_url,
    load,
)


def write_toml(text: str, name: str = "overnight.toml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def refusal(flags: dict[str, object], config: Path | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(flags, config)
    return str(caught.value)


def test_defaults() -> None:
    loaded = load({})
    assert loaded.settings == Settings()
    assert loaded.origins == {}
    assert loaded.settings.port == 8024
    assert loaded.settings.data_dir == Path("overnight-data")


def test_flags_beat_environment_beats_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write_toml("port = 1\nworkers = 1\nlease_seconds = 30\n[retry]\nattempts_max = 2")
    monkeypatch.setenv("OVERNIGHT_PORT", "2")
    monkeypatch.setenv("OVERNIGHT_WORKERS", "2")
    monkeypatch.setenv("OVERNIGHT_RETRY__BACKOFF_MAX_SECONDS", "9")
    loaded = load({"port": 3, "workers": None})
    settings = loaded.settings
    assert (settings.port, settings.workers, settings.lease_seconds) == (3, 2, 30)
    assert (settings.retry.attempts_max, settings.retry.backoff_max_seconds) == (2, 9)
    assert loaded.origins == {
        "port": "--port",
        "workers": "OVERNIGHT_WORKERS",
        "lease_seconds": "overnight.toml",
        "retry.attempts_max": "overnight.toml",
        "retry.backoff_max_seconds": "OVERNIGHT_RETRY__BACKOFF_MAX_SECONDS",
    }


def test_a_named_file_replaces_the_default_one() -> None:
    write_toml("port = 1")
    other = write_toml("workers = 2", "other.toml")
    assert load({}, other).settings == Settings(workers=2)


def test_upstreams_of_the_file() -> None:
    write_toml(
        """
        max_in_flight = 8
        [[upstreams]]
        url = "http://a:1/v1/"
        api_key = "secret"
        models = ["m"]
        [[upstreams]]
        url = "https://b/v1"
        max_in_flight = 4
        lanes = 2
        """
    )
    first, second = load({}).settings.upstreams
    assert (first.url, first.models, first.max_in_flight) == ("http://a:1/v1", ("m",), 8)
    assert first.api_key is not None
    assert first.api_key.get_secret_value() == "secret"
    assert second == UpstreamSettings(url="https://b/v1", max_in_flight=4, lanes=2)


def test_short_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_UPSTREAM", "http://a/v1")
    monkeypatch.setenv("OVERNIGHT_UPSTREAM_API_KEY", "up")
    monkeypatch.setenv("OVERNIGHT_API_KEY", "down")
    settings = load({"max_in_flight": 5}).settings
    assert [(up.url, up.max_in_flight) for up in settings.upstreams] == [("http://a/v1", 5)]
    assert settings.upstreams[0].api_key is not None
    assert settings.upstreams[0].api_key.get_secret_value() == "up"
    assert [key.get_secret_value() for key in settings.api_keys] == ["down"]


def test_a_flag_for_all_upstreams_beats_what_the_file_says_of_one() -> None:
    write_toml('[[upstreams]]\nurl = "http://a"\nmax_in_flight = 4\n')
    assert load({"max_in_flight": 6}).settings.upstreams[0].max_in_flight == 6


def test_upstreams_of_a_higher_layer_replace_those_below() -> None:
    write_toml('[[upstreams]]\nurl = "http://a"\n')
    settings = load({"upstream": ["http://b", "http://c"]}).settings
    assert [up.url for up in settings.upstreams] == ["http://b", "http://c"]


def test_each_value_of_an_upstream_has_its_own_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    write_toml('[[upstreams]]\nurl = "http://a"\nlanes = 2\n[[upstreams]]\nurl = "http://b"')
    monkeypatch.setenv("OVERNIGHT_UPSTREAM_API_KEY", "k")
    loaded = load({"max_in_flight": 9})
    assert loaded.origins == {
        "upstreams.0.url": "overnight.toml",
        "upstreams.0.lanes": "overnight.toml",
        "upstreams.0.api_key": "OVERNIGHT_UPSTREAM_API_KEY",
        "upstreams.0.max_in_flight": "--max-in-flight",
        "upstreams.1.url": "overnight.toml",
        "upstreams.1.api_key": "OVERNIGHT_UPSTREAM_API_KEY",
        "upstreams.1.max_in_flight": "--max-in-flight",
    }
    replaced = load({"upstream": ["http://c"], "api_key": ["x"]})
    assert replaced.origins == {"upstreams.0.url": "--upstream", "api_keys": "--api-key"}


def test_the_variable_of_a_whole_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("overnight_retry", '{"attempts_max": 2}')
    loaded = load({})
    assert loaded.settings.retry.attempts_max == 2
    assert loaded.origin("retry.attempts_max") == "OVERNIGHT_RETRY"
    assert loaded.origin("retry.backoff_max_seconds") == "default"


@pytest.mark.parametrize(
    ("variable", "right"),
    [
        ("OVERNIGHT_API_KEYS", 'a list, such as ["…", "…"]'),
        ("OVERNIGHT_RETRY", "a table"),
        ("OVERNIGHT_UPSTREAMS", "a list of tables, each with a url"),
    ],
)
def test_a_variable_that_is_not_json(
    monkeypatch: pytest.MonkeyPatch, variable: str, right: str
) -> None:
    monkeypatch.setenv(variable, "s3cret")
    assert refusal({}) == f"The variable {variable} is not JSON; it should be {right}."


def test_a_slip_in_a_group_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_RETRY__ATTEMPS_MAX", "3")
    assert "(OVERNIGHT_RETRY__ATTEMPS_MAX); did you mean 'retry.attempts_max'?" in refusal({})
    monkeypatch.delenv("OVERNIGHT_RETRY__ATTEMPS_MAX")
    monkeypatch.setenv("OVERNIGHT_PORT", "x")
    assert '(OVERNIGHT_PORT) is "x"; it should be a whole number' in refusal({})


def test_strangers_in_the_environment_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_TRAIN_NUMBER", "457")
    assert load({}).strangers == ("OVERNIGHT_TRAIN_NUMBER",)


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_API_KEY", "")
    assert load({}).settings.api_keys == ()


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("prot = 1", "no setting 'prot' (overnight.toml, line 1); did you mean 'port'?"),
        ("zzz = 1", "no setting 'zzz' (overnight.toml, line 1); there are: allow_open, "),
        ("# .\n[retry]\nattemps_max = 1", "'retry.attemps_max' (overnight.toml, line 3); did you"),
        ("retries = 5", "no setting 'retries' (overnight.toml, line 1); did you mean 'retry'?"),
        ("\nattempts_max = 5", "'attempts_max' (overnight.toml, line 2); did you mean 'retry.att"),
        (
            '[[upstreams]]\nurl = "http://a"\n[[upstreams]]\nurl = "http://b"\nlane = 1',
            "'upstreams.1.lane' (overnight.toml, line 5); did you mean 'upstreams.1.lanes'?",
        ),
        (
            "endpoints = [\n]\nport = 70000",
            (
                "Setting port (overnight.toml, line 3) is 70000; "
                "it should be a whole number from 0 to 65,535."
            ),
        ),
        (
            'workers = "two"',
            '(overnight.toml, line 1) is "two"; it should be a whole number from 1',
        ),
        ("retry = 5", "Setting retry (overnight.toml, line 1) is 5; it should be a table."),
        ("upstreams = 5", "Setting upstreams.0 (overnight.toml, line 1) is of a wrong kind"),
        ("host = 5", "is 5; it should be text that is not empty."),
        ("allow_open = 7", "is 7; it should be true or false."),
        (
            "endpoints = [7]",
            "Setting endpoints.0 (overnight.toml, line 1) is 7; it should be text.",
        ),
        ("endpoints = 7", 'is 7; it should be a list, such as ["…", "…"].'),
        ("[retry]\nattempts_max = 2.5", "is 2.5; it should be a whole number from 1 to 1,000."),
        ("[timeouts]\nidle_seconds = 0", "is 0; it should be a number greater than 0."),
        ("[timeouts]\nconnect_seconds = inf", "it should be a number greater than 0."),
        (
            "completion_window_seconds = 1e12",
            "it should be a number greater than 0 and at most 315,360,000.",
        ),
        ("cancel_grace_seconds = -1", "is -1; it should be a number of at least 0."),
        (
            "[[upstreams]]\nlanes = 1",
            "Setting upstreams.0.url (overnight.toml, line 1) is missing: ",
        ),
        ("port = ", "overnight.toml is not TOML: "),
        ("lease_seconds = 1", "Setting lease_seconds "),
        ('endpoints = ["rerank"]', "'rerank' should start with /v1/, such as /v1/rerank"),
        ('api_keys = [" "]', "a key can not be empty"),
        (
            '[[upstreams]]\nurl = "http://a"\n[[upstreams]]\nurl = "http://a/"',
            "http://a is listed twice; raise its max_in_flight or lanes instead",
        ),
    ],
)
def test_what_the_file_can_get_wrong(toml: str, words: str) -> None:
    write_toml(toml)
    assert words in refusal({})


def test_several_faults_are_told_at_once() -> None:
    lines = refusal({"port": -1, "workers": 0}).splitlines()
    assert [line.split(" (")[0] for line in lines] == ["Setting port", "Setting workers"]


def test_a_missing_file_is_an_error_only_when_named() -> None:
    assert refusal({}, Path("missing.toml")) == "There is no configuration file missing.toml."


def test_a_slip_in_the_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_MAX_INFLIGHT", "3")
    words = "There is no setting OVERNIGHT_MAX_INFLIGHT; did you mean OVERNIGHT_MAX_IN_FLIGHT?"
    assert refusal({}) == words


@pytest.mark.parametrize("name", ["OVERNIGHT_BASE_URL", "OVERNIGHT_DEBUG", "OVERNIGHT_QQQ"])
def test_other_variables_are_let_be(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    assert load({}).settings == Settings()


def test_no_fault_shows_a_secret() -> None:
    words = refusal({"api_key": "s3cret", "upstreams": [{"api_key": ["s3cret"]}], "port": -1})
    assert "s3cret" not in words


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:8000/v1", "write it like http://localhost:8000/v1"),
        ("127.0.0.1:8000", "write it like http://127.0.0.1:8000"),
        ("", "no http(s) URL"),
        ("ftp://a/", "no http(s) URL"),
        ("http:///v1", "no http(s) URL"),
        ("http://a/v1?x=1", "has a query"),
        ("http://user:word@a/v1", "api_key"),
        ("ftp://user:word@a/v1", "the URL holds a user or password"),
        ("http://a:99999/v1", "Port out of range"),
        ("http://a/v1/chat/completions", "the base it belongs to is http://a/v1"),
        ("http://a..b/v1", "'a..b' can not be the name of a host"),
        (f"http://{64 * 'a'}/v1", "can not be the name of a host"),
        ("http://a b/v1", "printable ASCII"),
        ("http://a/\x1b", "printable ASCII"),
        ("/run/engine.sock", "write it like unix:/run/engine.sock"),
        ("http://unix:/run/engine.sock", "is written like unix:/run/engine.sock"),
        ("unix:engine.sock", "begins with a slash"),
        ("unix:/run/my engine.sock", "printable ASCII"),
        ("unix:/e.sock:/v1/embeddings", "the base it belongs to is unix:/e.sock:/v1"),
    ],
)
def test_urls_that_are_no_base(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        checked_upstream_url(url)
    assert words in str(caught.value)


def test_each_lane_has_a_request_at_least() -> None:
    words = refusal({"upstreams": [{"url": "http://a", "max_in_flight": 3, "lanes": 4}]})
    assert "its 4 lanes can not share max_in_flight = 3" in words


def test_only_upstreams_may_be_sockets() -> None:
    (upstream,) = load({"upstream": ["unix:/run/engine.sock"]}).settings.upstreams
    assert upstream.url == "unix:/run/engine.sock:/v1"
    assert UpstreamSettings.model_validate(upstream.model_dump()) == upstream
    assert "no http(s) URL" in refusal({"public_url": "unix:/run/engine.sock"})


@pytest.mark.parametrize("url", ["http://a", "https://a.example/v1", "http://[::1]:8000/x/v1"])
def test_urls_lose_their_trailing_slash_alone(url: str) -> None:
    assert checked_base_url(f" {url}/ ") == url
    assert checked_base_url(url) == url


@pytest.mark.parametrize("key", ["two words", "line\n", "schlüssel"])
def test_an_upstreams_key_fits_into_a_header(key: str) -> None:
    words = refusal({"upstream": ["http://a/v1"], "upstream_api_key": key})
    assert "upstreams.0.api_key (--upstream-api-key)" in words
    assert "printable ASCII" in words
    assert key not in words


@given(
    key=st.text(min_size=1).filter(str.strip),
    sent_key=st.text("!-~aA0", min_size=1),
    replaces=st.lists(st.text(max_size=9)),
)
def test_an_assignment_survives_its_pipe(key: str, sent_key: str, replaces: list[str]) -> None:
    upstream = UpstreamSettings.model_validate({"url": "http://a", "api_key": sent_key})
    settings = Settings.model_validate({"api_keys": [key], "upstreams": [upstream]})
    sent = Assignment(settings=settings, worker_id="w", replaces=tuple(replaces))
    line = sent.to_line()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert Assignment.from_line(line) == sent


def test_secrets_are_stars_elsewhere() -> None:
    settings = load({"api_key": "s3cret"}).settings
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert "s3cret" not in text


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8024"),
        ("0.0.0.0", "http://127.0.0.1:8024"),
        ("::1", "http://[::1]:8024"),
        ("box.example", "http://box.example:8024"),
    ],
)
def test_base_url(host: str, url: str) -> None:
    assert Settings(host=host).base_url == url
    proxied = Settings(host=host, public_url="https://batch.example/")
    assert (proxied.base_url, proxied.local_url) == ("https://batch.example", url)
