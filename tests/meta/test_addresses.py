"""Whoever installs decides where packages come from: no file of ours names an index."""

import json
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Spelt in pieces, so that this file does not name what it looks for.
NAMES_AN_INDEX = re.compile(
    r"--(?:extra-)?index" + r"-url|--find" + r"-links|\[\[tool\.uv\." + r"index\]\]"
    r"|https?://[^\s\"'<>)]*/sim" + r"ple\b|files\.python" + r"hosted|(?:PIP|UV)_\w*IN" + "DEX"
)
IS_AN_ADDRESS = re.compile(r"\b(?:https?|file|git\+\w+)://|^\s*-[if]\b", re.MULTILINE)


def tracked() -> list[Path]:
    """What is or would be committed, by git's own word."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_names_an_index() -> None:
    # These two flags tell the resolver to leave addresses out.
    allowed = ("--no-emit-index" + "-url", "--no-emit-find" + "-links")
    found = {}
    for path in tracked():
        text = path.read_bytes().decode(errors="replace")
        for flag in allowed:
            text = text.replace(flag, "")
        if match := NAMES_AN_INDEX.search(text):
            found[str(path.relative_to(ROOT))] = match.group()
    assert found == {}


def test_locks_hold_no_address_and_a_hash_for_everything() -> None:
    locks = [*ROOT.glob("*.lock"), *(ROOT / "tests" / "sdk").glob("*.lock")]
    assert {lock.name for lock in locks} >= {"requirements.lock", "requirements-dev.lock"}
    for lock in locks:
        text = lock.read_text()
        assert not IS_AN_ADDRESS.search(text), lock.name
        pins = re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]
        assert pins, lock.name
        for pin in pins:
            assert re.match(r"[\w.-]+==\S+", pin), f"{lock.name}: {pin.splitlines()[0]}"
            assert "--hash=sha256:" in pin, f"{lock.name}: {pin.splitlines()[0]}"


def test_locks_of_node_hold_no_address_and_a_hash_for_everything() -> None:
    locks = [*(ROOT / "tests" / "sdk").glob("*/package-lock.json")]
    assert locks
    for lock in locks:
        packages = json.loads(lock.read_text())["packages"]
        installed = {name: told for name, told in packages.items() if name}
        assert installed, lock
        for name, told in installed.items():
            assert "resolved" not in told, f"{lock.parent.name}: {name}"
            assert told["integrity"].startswith("sha512-"), f"{lock.parent.name}: {name}"


def test_the_development_lock_holds_the_runtime_lock() -> None:
    def pins(lock: Path) -> set[str]:
        return set(re.findall(r"^[\w.-]+==\S+", lock.read_text(), re.MULTILINE))

    assert pins(ROOT / "requirements.lock") <= pins(ROOT / "requirements-dev.lock")
