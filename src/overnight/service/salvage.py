"""What a job is published from, when some of it is lost: a plan can be made again.

A plan says where the lines of the input lie and how they are cut into shards, and the same input
always gives the same one. So a plan that is damaged is made again, and taken if its every shard
is the one that the database speaks of.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from overnight.dispatch.window import is_planned
from overnight.domain.errors import Corrupt
from overnight.domain.job import Job
from overnight.domain.plan import ShardPlan
from overnight.domain.request import LineRules
from overnight.seams import AppendFile, ReadFile
from overnight.service.intake import rules_of
from overnight.service.validator import Validation

_CHECKED_AT_ONCE: Final = 500
_ANY_BYTES: Final = 2**31
"""The limits may be others now than those the lines were accepted by."""


class Nothing:
    """The `ReadFile` in the place of one that is lost."""

    def size(self) -> int:
        return 0

    def read_at(self, offset: int, length: int) -> bytes:  # noqa: ARG002  of a `ReadFile`
        return b""

    def close(self) -> None:
        pass


class PlanCheck:
    """Goes over a plan, in steps; `damaged` is final at their end."""

    def __init__(self, plan: ReadFile, shards: Sequence[ShardPlan]) -> None:
        self.damaged = False
        self._plan = plan
        self._shards = shards

    def steps(self) -> Iterator[None]:
        for number, shard in enumerate(self._shards):
            if not is_planned(self._plan, shard):
                self.damaged = True
                return
            if number % _CHECKED_AT_ONCE == 0:
                yield


class PlanRepair:
    """Makes a job's plan again, in steps; `done` says at their end whether it is the same."""

    def __init__(
        self, job: Job, input: ReadFile, plan: AppendFile, shards: Sequence[ShardPlan]
    ) -> None:
        limits = LineRules(None, line_bytes_max=_ANY_BYTES, custom_id_bytes_max=_ANY_BYTES)
        self.done = False
        self._validation = Validation(input, plan, rules_of(job, limits))
        self._shards = shards

    def steps(self) -> Iterator[None]:
        try:
            for _ in self._validation.steps():
                yield
        except Corrupt:
            return
        made = self._validation.plan
        self.done = made is not None and made.shards == list(self._shards)
