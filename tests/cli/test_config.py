"""`overnight config`: what is in force and why, and the file to begin with."""

import json
import os
import re
from pathlib import Path

import pytest

from overnight.settings import Settings, UpstreamSettings, load
from overnight.settings.fields import setting_fields
from overnight.settings.template import template
from support.command_line import overnight
from support.terminal import on_terminal, without_controls

FILE = """
[[upstreams]]
url = "http://a/v1"
api_key = "s3cret"
[retry]
attempts_max = 3
"""


@pytest.fixture
def _configured(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("overnight.toml").write_text(FILE)
    monkeypatch.setenv("OVERNIGHT_PORT", "9000")
    monkeypatch.setenv("OVERNIGHT_API_KEY", "s3cret")


@pytest.mark.usefixtures("_configured")
def test_show_tells_value_origin_and_meaning() -> None:
    ended = overnight("config", "show")
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in ended.out.splitlines()}
    assert rows["port"] == ["9000", "OVERNIGHT_PORT", "Port to listen on; 0 takes a free one."]
    assert rows["upstreams.0.url"][:2] == ['"http://a/v1"', "overnight.toml"]
    assert rows["upstreams.0.api_key"][:2] == ['"**********"', "overnight.toml"]
    assert rows["upstreams.0.lanes"][:2] == ["1", "default"]
    assert rows["workers"][:2] == ["1", "default"]
    assert rows["api_keys"][:2] == ['["**********"]', "OVERNIGHT_API_KEY"]
    assert rows["public_url"][0] == "unset"
    assert all(len(row) == 3 and row[2] for row in rows.values())
    assert "s3cret" not in ended.out


@pytest.mark.usefixtures("_configured")
def test_show_for_programs() -> None:
    ended = overnight("config", "show", "--json")
    data = json.loads(ended.out)
    assert data["unknown_variables"] == []
    assert data["settings"]["retry.attempts_max"] == {
        "value": 3,
        "origin": "overnight.toml",
        "meaning": "Charged attempts of a request, the first included.",
    }
    assert data["settings"]["api_keys"]["value"] == ["**********"]
    assert "s3cret" not in ended.out


def test_show_names_every_setting() -> None:
    shown = set(json.loads(overnight("config", "show", "--json").out)["settings"])
    named = {f"{field.group}.{field.name}".lstrip(".") for field in setting_fields()}
    assert shown - {"upstreams"} == {name for name in named if not name.startswith("upstreams.")}


@pytest.mark.usefixtures("_configured")
@pytest.mark.parametrize("columns", [60, 80, 120])
def test_show_fits_a_terminal(columns: int) -> None:
    shown = on_terminal("config", "show", columns=columns).out
    lines = without_controls(shown).splitlines()
    assert "retry" in lines
    assert max(map(len, lines)) <= columns
    assert ["port", "9000", "OVERNIGHT_PORT"] in [line.split() for line in lines]
    assert "\x1b[" in shown
    assert "\x1b[" not in on_terminal("config", "show", columns=columns, NO_COLOR="1").out


def test_a_stranger_in_the_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_TRAIN_NUMBER", "457")
    ended = overnight("config", "show", "--json")
    assert ended.err == "warning: OVERNIGHT_TRAIN_NUMBER looks like a setting and is none\n"
    assert json.loads(ended.out)["unknown_variables"] == ["OVERNIGHT_TRAIN_NUMBER"]


# The file to begin with


def test_what_init_writes_changes_nothing() -> None:
    assert overnight("config", "init").code == 0
    loaded = load({})
    assert (loaded.settings, loaded.origins) == (Settings(), {})


def test_uncommented_it_says_the_defaults() -> None:
    Path("overnight.toml").write_text(re.sub(r"^#(?=\S)", "", template(), flags=re.MULTILINE))
    loaded = load({})
    upstream = UpstreamSettings(url="http://127.0.0.1:8000/v1")
    assert loaded.settings == Settings(upstreams=(upstream,))
    can_be_said = {
        f"{field.group}.{field.name}".lstrip(".").replace("upstreams.", "upstreams.0.")
        for field in setting_fields()
        if field.info.default is not None
    }
    assert set(loaded.origins) == can_be_said


def test_it_explains_every_setting() -> None:
    prose = " ".join(line.removeprefix("# ") for line in template().splitlines())
    for field in setting_fields():
        assert field.meaning in prose
        assert re.search(rf"^#.*\b{field.name} = ", template(), re.MULTILINE)
    assert max(map(len, template().splitlines())) <= 100


def test_init_keeps_what_is_there() -> None:
    path = Path("mine.toml")
    path.write_text("port = 1")
    refused = overnight("config", "init", path)
    assert refused.code == 2
    assert refused.err == (
        "error: mine.toml exists already.\nhint: Replace it with --force, or name another file.\n"
    )
    assert path.read_text() == "port = 1"
    assert overnight("config", "init", path, "--force").out.endswith("serve --config mine.toml\n")
    assert path.read_text() == template()


def test_init_writes_for_the_owner_alone() -> None:
    overnight("config", "init")
    assert Path("overnight.toml").stat().st_mode & 0o077 == 0


def test_init_prints_to_standard_output() -> None:
    assert overnight("config", "init", "-").out == template()
    assert os.listdir() == []


def test_init_where_it_can_not_be() -> None:
    ended = overnight("config", "init", "missing/overnight.toml")
    assert ended.code == 2
    assert ended.err == (
        "error: missing/overnight.toml can not be written: No such file or directory.\n"
    )
