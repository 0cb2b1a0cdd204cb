"""One brief round of the quick scenarios, from a fixed seed; `make chaos` plays all of them."""

import random
from pathlib import Path

import pytest

from chaos.frame import NotHere, Round, Scenario, Tally
from chaos.scenarios import scenarios

SEED = 1


@pytest.mark.parametrize(
    "scenario", [one for one in scenarios() if one.in_tests], ids=lambda one: one.name
)
def test_every_promise_is_kept(scenario: Scenario, tmp_path: Path) -> None:
    tally = Tally()
    try:
        scenario.play(Round(SEED, tmp_path, random.Random(SEED), tally, brief=True))
    except NotHere as lack:
        pytest.skip(str(lack))
    assert tally.faults.total() > 0
    assert (tally.missing, tally.twice) == (0, 0)
