"""`overnight keys …`, without a service and beside a running one."""

import json
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from overnight.cli.serve import refuse_exposure
from overnight.domain.errors import ConfigurationError
from overnight.settings import Settings
from support.command_line import Ended, overnight
from support.polling import wait_for
from support.service import ServiceProcess, running_service
from support.terminal import on_terminal, without_controls

SEEN_WITHIN_SECONDS = 10.0
"""The promise is 2, which tests in virtual time hold; a busy machine gets more."""


def keys(*arguments: object, folder: object = "data") -> Ended:
    return overnight("keys", *arguments, "--data-dir", folder)


def created(*arguments: object, folder: object = "data") -> str:
    done = keys("create", *arguments, folder=folder)
    assert done.code == 0, done.err
    return done.out.strip()


def listed(*arguments: object) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(keys("list", "--json", *arguments).out)["keys"]
    return found


def test_the_key_alone_is_on_standard_output() -> None:
    done = keys("create", "alice")
    assert done.out.count("\n") == 1
    assert done.out.startswith("on-")
    assert len(done.out.strip()) == len("on-") + 64
    assert "'alice'" in done.err
    assert "not shown again" in done.err
    assert done.out.strip() not in done.err


def test_the_first_key_is_told_to_close_the_door() -> None:
    assert "a key is needed" in keys("create", "alice").err
    assert "a key is needed" not in keys("create", "bob").err


def test_the_last_one_revoked_is_told_to_let_nobody_in() -> None:
    created("alice")
    created("bob")
    assert "No key is left" not in keys("revoke", "alice").err
    assert "No key is left" in keys("revoke", "bob").err
    assert "No key is left" in keys("list").err


def test_nothing_in_the_folder_is_the_key() -> None:
    secret = created("alice").encode()
    everything = [path.read_bytes() for path in Path("data").rglob("*") if path.is_file()]
    assert any(secret[:11] in data for data in everything)
    assert not any(secret in data or secret[11:] in data for data in everything)
    assert Path("data").stat().st_mode & 0o077 == 0


def test_list() -> None:
    created("alice")
    created("bob", "--tenant", "alice", "--dialect", "together", "--expires", "90d")
    bob, alice = listed()
    assert (alice["name"], alice["tenant"], alice["dialect"]) == ("alice", "alice", None)
    assert (alice["expires_at"], alice["last_used_at"]) == (None, None)
    assert (bob["tenant"], bob["dialect"]) == ("alice", "together")
    assert bob["expires_at"] == pytest.approx(time.time() + 90 * 86_400, abs=600)
    header, first, _ = keys("list").out.splitlines()
    names = ["name", "prefix", "tenant", "expires", "last_used", "created", "dialect"]
    assert header.split("\t") == names
    assert first.split("\t")[0] == "bob"


@pytest.mark.parametrize("columns", [50, 80])
def test_list_fits_the_terminal(columns: int) -> None:
    created("long-" * 10)
    shown = on_terminal("keys", "list", "--data-dir", "data", columns=columns)
    lines = without_controls(shown.out).splitlines()
    assert max(map(len, lines)) <= columns
    assert str(listed()[0]["prefix"]) in lines[1]


@pytest.mark.parametrize("by", ["name", "prefix", "key"])
def test_revoke(by: str) -> None:
    secret = created("alice")
    created("bob")
    word = {"name": "alice", "prefix": secret[:11], "key": secret}[by]
    done = keys("revoke", word)
    assert (done.code, done.out) == (0, f"alice  {secret[:11]}  revoked\n")
    assert [key["name"] for key in listed()] == ["bob"]
    assert [key["name"] for key in listed("--all")] == ["bob", "alice"]
    again = keys("revoke", word)
    assert again.code == 2
    assert "There is no key" in again.err
    assert secret not in again.err


def test_a_name_is_free_again_once_its_key_is_revoked() -> None:
    created("alice")
    taken = keys("create", "alice")
    assert taken.code == 2
    assert "revoke it, or choose another name" in taken.err
    keys("revoke", "alice")
    created("alice")
    assert len(listed()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a b"], "'a b' can not be the name of a key"),
        (["a", "--tenant", "é"], "'é' can not be the tenant of a key"),
        (["a", "--expires", "9y"], "such as 90d"),
        (["a", "--expires", "0d"], "such as 90d"),
        (["a", "--expires", "999999w"], "more than 100 years; leave its end out"),
        (["a", "--dialect", "mistral"], "'mistral'"),
    ],
)
def test_what_is_wrong_is_told_and_leaves_nothing(arguments: list[str], said: str) -> None:
    done = keys("create", *arguments)
    assert done.code == 2
    assert said in done.err
    assert not Path("data").exists()


@pytest.mark.parametrize("arguments", [["list"], ["revoke", "alice"]])
def test_a_folder_that_is_not_there_is_not_made(arguments: list[str]) -> None:
    done = keys(*arguments)
    assert done.code == 2
    assert "--data-dir" in done.err
    assert not Path("data").exists()


# Beside a service


def status(service: ServiceProcess, key: str | None = None) -> int:
    parts = urlsplit(service.base_url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        connection.request("GET", "/v1/files", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_running_service_sees_what_changes(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with running_service(folder, "http://127.0.0.1:9/v1") as service:
        assert status(service) == 200
        secret = created("alice", folder=folder)
        wait_for(lambda: status(service) == 401, SEEN_WITHIN_SECONDS, "the end of open mode")
        assert status(service, secret) == 200
        client = ("files", "list", "--base-url", service.base_url, "--api-key")
        assert overnight(*client, secret).code == 0
        assert keys("revoke", "alice", folder=folder).code == 0
        wait_for(lambda: status(service, secret) == 401, SEEN_WITHIN_SECONDS, "the revocation")
        refused = overnight(*client, secret)
        assert refused.code == 2
        assert "'alice' was revoked" in refused.err
        assert status(service) == 401
    written = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert not any(secret.encode() in data for data in written)


def test_a_service_with_a_key_may_be_exposed() -> None:
    settings = Settings(host="0.0.0.0", data_dir=Path("data"))
    Path("data").mkdir()
    with pytest.raises(ConfigurationError, match="let everybody"):
        refuse_exposure(settings)
    created("alice")
    refuse_exposure(settings)
    # Without one it is closed, and therefore may be exposed as well.
    keys("revoke", "alice")
    refuse_exposure(settings)
