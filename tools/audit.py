"""Ask the advisory database of the package index whether anything we pin has known holes.

    python -m tools.audit

Ends with 0 when every pin was looked at and nothing is known, 1 when something is, and 69 when
pins could not be looked at: without a network, or where a mirror of the index knows no advisories.
pip-audit itself calls the latter «no known vulnerabilities found», which says too much.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tools.environment import ROOT, run, say

LOCKS: Final = ("requirements.lock", "requirements-dev.lock")
UNAVAILABLE: Final = 69
"""`EX_UNAVAILABLE` of sysexits.h."""


@dataclass
class Audit:
    """What was found out of one lock."""

    looked_at: int = 0
    unknown: list[str] = field(default_factory=list)
    """Pins that could not be looked at."""
    holes: list[str] = field(default_factory=list)
    trouble: str = ""
    """Why nothing at all could be found out."""


def read(report: str) -> Audit:
    """Understand what pip-audit says as JSON. Raises `ValueError` when it is none."""
    audit = Audit()
    for one in json.loads(report)["dependencies"]:
        if "skip_reason" in one:
            audit.unknown.append(one["name"])
            continue
        audit.looked_at += 1
        for hole in one["vulns"]:
            mended = ", ".join(hole["fix_versions"]) or "nothing yet"
            audit.holes.append(f"{one['name']} {one['version']}: {hole['id']}, mended in {mended}")
    return audit


def ask(pip_audit: Path, lock: Path) -> Audit:
    options = ["--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off"]
    command = [str(pip_audit), *options, "--requirement", str(lock)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        return read(done.stdout)
    except ValueError:
        *_, last = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        return Audit(trouble=last)


def verdict(audits: dict[str, Audit]) -> int:
    """Tell what was found, and the exit code."""
    for name, audit in audits.items():
        if audit.trouble:
            say(f"{name}: pip-audit could not work: {audit.trouble}")
            continue
        say(f"{name}: {audit.looked_at} pins looked at, {len(audit.holes)} known holes")
        for hole in audit.holes:
            say(f"  {hole}")
        if audit.unknown:
            say(f"  not looked at, for the index has no advisories: {len(audit.unknown)} pins")
    if any(audit.holes for audit in audits.values()):
        say("Move the pins with `make lock UPGRADE=1`, or say why a hole is none for us.")
        return 1
    if any(audit.unknown or audit.trouble for audit in audits.values()):
        say("This says nothing of what was not looked at: audit where the index can be reached.")
        return UNAVAILABLE
    return 0


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        try:
            run([sys.executable, "-m", "venv", folder])
            # The newest: an auditor in a lock would know old ways of asking.
            pip = [f"{folder}/bin/python", "-m", "pip", "install", "--quiet", "pip-audit"]
            run(pip)
        except subprocess.CalledProcessError as failure:
            say(f"{failure.output}\npip-audit could not be installed; the lines above say why.")
            return UNAVAILABLE
        pip_audit = Path(folder) / "bin" / "pip-audit"
        return verdict({lock: ask(pip_audit, ROOT / lock) for lock in LOCKS})


if __name__ == "__main__":
    sys.exit(main())
