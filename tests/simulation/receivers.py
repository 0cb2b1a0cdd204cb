"""Receivers of webhooks: they answer, hang, refuse, redirect, and remember what they were told."""

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from overnight.domain.event import EVENT_OF_END, EventType
from overnight.domain.job import TERMINAL
from overnight.domain.webhook import Webhook
from overnight.store import webhooks
from simulation.process import EPOCH, Process
from support.fake_network import Drop, Reaction, Respond, Silence
from support.hook_network import Hook, HookNetwork
from support.virtual_time import OWNER

if TYPE_CHECKING:
    from simulation.machine import Machine

_ADDRESS: Final = "10.0.0."
_MOODS: Final[dict[str, Reaction]] = {
    "error": Respond(500, b"ouch"),
    "redirect": Respond(302, b""),
    "overload": Respond(429, b"", retry_after="2"),
    "drop": Drop(0.1),
    "hang": Silence(),
    "slow": Respond(204, b"", after_seconds=3.0),
}


@dataclass(frozen=True, slots=True)
class _Told:
    """One sending as a receiver saw it."""

    at: float
    job_id: str
    hook: Hook
    is_acknowledged: bool


@dataclass(eq=False)
class Receiver:
    webhook: Webhook
    trouble: float
    moods: tuple[str, ...]
    told: list[_Told] = field(default_factory=list)
    leaves_at: float | None = None
    """When its webhook is deleted, if it is."""
    is_gone: bool = False


class Receivers(HookNetwork):
    """All of them, and the rules of being told."""

    def __init__(self, machine: "Machine", chance: random.Random) -> None:
        super().__init__(answer=self._answer)
        self._machine = machine
        self.all = {
            f"{_ADDRESS}{n}": _receiver(machine, chance, n) for n in range(chance.choice([0, 1, 3]))
        }
        self.addresses = {f"hook{address[len(_ADDRESS) :]}": [address] for address in self.all}

    def sign_up(self, tx: Connection) -> None:
        for receiver in self.all.values():
            webhooks.add(tx, receiver.webhook)

    def is_one(self, address: str) -> bool:
        return address in self.all

    def _answer(self, hook: Hook) -> Reaction:
        machine, receiver = self._machine, self.all[hook.address]
        process = OWNER.get()
        assert isinstance(process, Process)
        if not process.alive:
            return Silence()
        chance = random.Random(f"{machine.seed}/{hook.address}/{len(receiver.told)}")
        mood = "plain"
        if not machine.healed and chance.random() < receiver.trouble:
            mood = chance.choice(receiver.moods)
            machine.history.counts[f"receivers: {mood}"] += 1
        reaction = _MOODS.get(mood, Respond(200, b"", after_seconds=chance.choice([0.01, 0.5])))
        acknowledged = isinstance(reaction, Respond) and reaction.status < 300
        told = _Told(hook.at, hook.event["data"]["id"], hook, acknowledged)
        machine.trace(process, f"tells {hook.address} of {told.job_id}: {mood}")
        self._check(process, receiver, told)
        receiver.told.append(told)
        return reaction

    def _check(self, process: Process, receiver: Receiver, told: _Told) -> None:
        history, hook = self._machine.history, told.hook
        row = history.latest.jobs.get(told.job_id)
        if row is None or row.status not in TERMINAL:
            history.broke(f"{process} tells of {told.job_id}, which has not ended: {row}")
        elif hook.event["type"] != EVENT_OF_END[row.status]:
            history.broke(f"{process} tells {hook.event} of {told.job_id}: {row.status.value}")
        for before in receiver.told:
            if (before.hook.id == hook.id) is not (before.job_id == told.job_id):
                history.broke(f"{process} tells of {told.job_id} as {hook.id}, as of another")
            if before.hook.id == hook.id and before.hook.body != hook.body:
                history.broke(f"{process} tells of {told.job_id} anew, and otherwise")

    def judge(self) -> None:
        """Each end was told to whoever wanted to know, and is still there to be told to."""
        history = self._machine.history
        for receiver in self.all.values():
            heard = {told.job_id for told in receiver.told if told.is_acknowledged}
            wanted = {
                job_id
                for job_id, row in history.latest.jobs.items()
                if EVENT_OF_END.get(row.status) in receiver.webhook.event_types
            }
            if not receiver.is_gone:
                for job_id in sorted(wanted - heard):
                    history.broke(f"{receiver.webhook.id} was never told of the end of {job_id}")
            for job_id in sorted(heard - wanted):
                history.broke(f"{receiver.webhook.id} was told of {job_id} unasked")
            times = [told for told in receiver.told if told.is_acknowledged]
            history.counts["webhooks: ends told"] += len(heard)
            history.counts["webhooks: ends told again"] += len(times) - len(heard)


def _receiver(machine: "Machine", chance: random.Random, number: int) -> Receiver:
    types = (
        tuple(EventType) if number == 0 else tuple(t for t in EventType if chance.random() < 0.6)
    )
    webhook = Webhook(
        id=f"we_{number:024x}",
        tenant="local",
        name="",
        url=f"http://hook{number}/told",
        event_types=types or (EventType.COMPLETED,),
        secret="whsec_" + "c2VjcmV0" * 6,
        created_at=EPOCH,
        updated_at=EPOCH,
    )
    moods = tuple(chance.sample(sorted(_MOODS), chance.randint(1, 3)))
    leaves_at = chance.uniform(0.0, machine.trouble_seconds) if chance.random() < 0.2 else None
    return Receiver(webhook, chance.choice([0.0, 0.3, 0.8]), moods, leaves_at=leaves_at)
