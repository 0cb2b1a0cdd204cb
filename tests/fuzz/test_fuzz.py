"""What the fuzzer once found stays mended, and a few thousand runs find nothing new."""

from importlib.util import find_spec

import pytest

from fuzz.__main__ import TARGETS, fuzz, target, told

EXECUTIONS = {"file_validation": 2_000}
"""Of one that is slower; else `EXECUTIONS_USUAL`."""
EXECUTIONS_USUAL = 5_000


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_breaks_no_rule(name: str) -> None:
    chosen = target(name)
    kept = sorted(chosen.corpus.iterdir())
    assert kept, f"{chosen.corpus} is empty"
    for path in kept:
        try:
            chosen.check(path.read_bytes())
        except Exception as error:
            raise AssertionError(
                f"again: .venv/bin/python -m tests.fuzz {name} --replay {path}"
            ) from error


@pytest.mark.skipif(
    find_spec("atheris") is None, reason="atheris comes ready-made for few platforms"
)
@pytest.mark.parametrize("name", TARGETS)
def test_some_thousand_runs_break_no_rule(name: str) -> None:
    run = fuzz(name, executions=EXECUTIONS.get(name, EXECUTIONS_USUAL))
    assert run.crash is None, told(name, run)
    assert run.executions >= EXECUTIONS.get(name, EXECUTIONS_USUAL)
    assert run.branches > 20, "the fuzzer does not see what it reaches"


def test_the_corpus_is_small() -> None:
    kept = [path.stat().st_size for name in TARGETS for path in target(name).corpus.iterdir()]
    assert sum(kept) <= 200_000
