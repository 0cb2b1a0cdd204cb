"""The audit of what we pin says no more than it knows."""

import json

import pytest

from tools.audit import UNAVAILABLE, Audit, read, verdict

FINE = {"name": "a", "version": "1", "vulns": []}
HOLE = {"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": [], "description": ""}
HOLED = {"name": "b", "version": "2", "vulns": [HOLE]}
SKIPPED = {"name": "c", "skip_reason": "Dependency not found on PyPI and could not be audited"}


@pytest.mark.parametrize(
    ("found", "code", "said"),
    [
        ([FINE], 0, "1 pins looked at, 0 known holes"),
        ([FINE, HOLED, SKIPPED], 1, "b 2: PYSEC-1, mended in 2.1"),
        # pip-audit calls this «no known vulnerabilities found».
        ([FINE, SKIPPED], UNAVAILABLE, "says nothing of what was not looked at"),
    ],
)
def test_what_was_not_looked_at_is_not_called_well(
    found: list[object], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verdict({"some.lock": read(json.dumps({"dependencies": found}))}) == code
    assert said in capsys.readouterr().out


def test_an_audit_that_could_not_work_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict({"some.lock": Audit(trouble="no network")}) == UNAVAILABLE
    assert "could not work: no network" in capsys.readouterr().out
