"""What commands print, and the codes they end with."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.command_line import overnight

GOOD = '{"custom_id":"a","body":{"model":"m"}}\n{"custom_id":"b","body":{"model":"n"}}\n'
BAD = '{"custom_id":"a","body":{"model":"m"}}\n' * 2 + "{\n"


def write(text: str) -> Path:
    path = Path("input.jsonl")
    path.write_text(text)
    return path


def test_version() -> None:
    assert overnight("--version").out.startswith("overnight ")


def test_help_names_the_commands() -> None:
    ended = overnight("--help")
    assert ended.code == 0
    for command in ("serve", "validate", "config"):
        assert command in ended.out


def test_help_loads_nothing_heavy() -> None:
    source = (
        "import sys\nfrom overnight.cli.main import main\nsys.argv = ['overnight', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    print('loaded', *sys.modules)"
    )
    reply = subprocess.run([sys.executable, "-c", source], capture_output=True, check=True)
    loaded = reply.stdout.decode().rpartition("loaded ")[2].split()
    heavy = {"fastapi", "httptools", "msgspec", "pydantic", "sqlalchemy", "uvicorn"}
    assert heavy.isdisjoint(loaded)


def test_an_unknown_flag_is_wrong_usage() -> None:
    assert overnight("serve", "--prot", 1).code == 2


def test_serve_needs_an_upstream() -> None:
    ended = overnight("serve")
    assert ended.code == 2
    assert ended.err.startswith("error: There is no upstream")
    assert "--upstream" in ended.err
    assert "overnight sim" in ended.err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "box.example"])
def test_serve_does_not_expose_an_open_service(host: str) -> None:
    ended = overnight("serve", "--upstream", "http://a/v1", "--host", host)
    assert ended.code == 2
    assert "--api-key" in ended.err
    assert "--allow-open" in ended.err


def test_wrong_settings_are_a_line_and_code_2() -> None:
    ended = overnight("serve", "--upstream", "localhost:1")
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert ended.err.startswith("error: Setting upstreams.0.url (--upstream): ")


def test_debug_keeps_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from overnight.domain.errors import ConfigurationError

    monkeypatch.setenv("OVERNIGHT_DEBUG", "1")
    with pytest.raises(ConfigurationError):
        overnight("serve")


def test_validate_a_good_file() -> None:
    ended = overnight("validate", write(GOOD))
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[:2] == ["2 requests, no faults", "  models  m, n"]


def test_validate_a_good_file_for_programs() -> None:
    path = write(GOOD)
    data = json.loads(overnight("validate", path, "--json").out)
    digest = data.pop("digest")
    assert len(digest) == 32
    assert data == {
        "valid": True,
        "faults": [],
        "requests": 2,
        "models": ["m", "n"],
        "bytes": path.stat().st_size,
        "body_bytes": 26,
        "shards": 2,
        "endpoint": None,
    }


def test_validate_a_bad_file() -> None:
    ended = overnight("validate", write(BAD))
    assert ended.code == 3
    first, second = ended.out.splitlines()
    assert first.startswith("line 2: custom_id: ")
    assert first.endswith("[duplicate_custom_id]")
    assert second.startswith("line 3: ")
    assert ended.err == "error: the input has 2 faults\n"


def test_validate_a_bad_file_for_programs() -> None:
    ended = overnight("validate", write(BAD), "--json")
    assert ended.code == 3
    data = json.loads(ended.out)
    assert data["valid"] is False
    assert [fault["line"] for fault in data["faults"]] == [2, 3]


def test_validate_keeps_to_the_limits_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_LIMITS__REQUESTS_MAX", "1")
    assert "[too_many_tasks]" in overnight("validate", write(GOOD)).out


def test_validate_for_one_endpoint() -> None:
    line = '{"custom_id":"a","url":"/v1/embeddings","body":{"model":"m"}}\n'
    path = write(line)
    assert overnight("validate", path, "--endpoint", "/v1/embeddings").code == 0
    refused = overnight("validate", path, "--endpoint", "/v1/completions")
    assert refused.code == 3
    assert "[invalid_url]" in refused.out


@pytest.mark.parametrize("arguments", [("missing",), (".",), ("input.jsonl", "--endpoint", "/v1")])
def test_validate_what_can_not_be(arguments: tuple[str, ...]) -> None:
    write(GOOD)
    ended = overnight("validate", *arguments)
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert ended.out == ""
