"""The users of a simulated machine: they upload, submit, cancel and delete, and ask again."""

import asyncio
import hashlib
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from overnight.domain.errors import CallerFault, Conflict, InvalidRequest, NotFound, Unavailable
from overnight.domain.upload import Upload
from overnight.service.files import NewFile
from overnight.service.incoming import Incoming
from overnight.service.part_order import OrderOfIds, OrderOfNumbers, PartOrder
from overnight.service.part_uploads import NewUpload
from overnight.service.submission import Sending, SubmitJob
from simulation.front import ClientGone, Front, Unanswered, ask
from simulation.receivers import Receiver
from simulation.workload import Order, Parcel

if TYPE_CHECKING:
    from simulation.machine import Machine

T = TypeVar("T")

TENANT: Final = "local"
_BROKEN_OFF: Final = 0.05
"""How often a sender goes away half-way."""


class Abandoned(Exception):  # noqa: N818
    """The user has gone and will not come back."""


class User:
    """Somebody with one file, and perhaps a job to make of it."""

    def __init__(self, machine: "Machine", parcel: Parcel) -> None:
        self._machine = machine
        self._parcel = parcel
        self._chance = random.Random(f"{machine.seed}/{parcel.name}")

    # Jobs

    async def order(self, order: Order) -> None:
        """Have a job made of the file; perhaps cancel it, or delete the file under it."""
        await asyncio.sleep(order.parcel.at)
        while not order.job_id:
            await self._upload()
            try:
                submitted = await self._ask(partial(_submit, order=order))
            except InvalidRequest:
                # Its time was up before it could be used.
                self._parcel.lifetime_seconds = None
                continue
            order.job_id, order.deadline = submitted.job.id, submitted.job.deadline
        await asyncio.gather(self._cancel_job(order), self._delete(order.delete_input_at))

    async def _cancel_job(self, order: Order) -> None:
        if order.cancel_at is not None:
            await self._until(order.cancel_at)
            order.cancelled = True
            with suppress(Conflict):
                await self._ask(lambda front: front.jobs(1.0).cancel(order.job_id, TENANT))

    # Files

    async def store(self) -> None:
        """Upload the file, or begin to; perhaps delete it."""
        await asyncio.sleep(self._parcel.at)
        with suppress(Abandoned):
            await self._upload()
            if self._parcel.fate in ("delete", "cancel"):
                await self._delete(self._now + self._chance.uniform(0.0, 5.0))

    async def _delete(self, at: float | None) -> None:
        if at is not None:
            file_id = self._parcel.file_id
            assert file_id is not None
            await self._until(at)
            self._parcel.may_be_gone = True
            with suppress(Conflict, NotFound):
                await self._ask(lambda front: front.files.delete(file_id, TENANT))

    async def _upload(self) -> None:
        """Until the user is told that the file is there."""
        parcel = self._parcel
        parcel.file_id = None
        ways = {
            "whole": self._in_one,
            "link": self._by_link,
            "parts": self._in_parts,
            "numbered": self._in_parts,
        }
        while parcel.file_id is None:
            # Where answers are lost there may be parts too many: then all begins anew.
            with suppress(Unanswered, CallerFault, Unavailable):
                parcel.file_id = await ways[parcel.way]()
        parcel.may_be_gone = parcel.lifetime_seconds is not None
        self._machine.trace(None, f"{parcel.name} is stored as {parcel.file_id}")
        self._machine.history.counts[f"uploads: {parcel.way}"] += 1

    async def _in_one(self) -> str:
        self._may_leave()

        async def post(front: Front) -> str:
            async with front.files.incoming() as incoming:
                await self._feed(incoming, self._parcel.data)
                return (await front.files.add(incoming, self._details)).id

        return await self._ask(post)

    async def _by_link(self) -> str:
        data, told = self._parcel.data, self._chance.random() < 0.5
        checksum = hashlib.sha256(data).hexdigest() if told else None
        file, token = await self._ask(lambda front: front.files.reserve(self._details, checksum))
        self._may_leave()
        if not told and self._chance.random() < 0.3:
            # Other bytes before the right ones. Without an answer they might still come after.
            await self._once(partial(self._put, token=token, data=data[::-1] + b"!"))
        puts = [self._put] * self._chance.choice([1, 1, 2])
        await asyncio.gather(*(self._ask(partial(put, token=token, data=data)) for put in puts))
        self._may_leave()
        await self._ask(lambda front: front.files.confirm(file.id, TENANT))
        return file.id

    async def _put(self, front: Front, token: str, data: bytes) -> None:
        link = front.files.read_link(token)
        async with front.files.incoming() as incoming:
            await self._feed(incoming, data)
            await front.files.fulfil(link, incoming)

    async def _in_parts(self) -> str:
        data, numbered = self._parcel.data, self._parcel.way == "numbered"
        pieces = self._cut(data)
        new = NewUpload(
            self._details,
            len(data),
            len(pieces) if numbered else None,
            hashlib.sha256(data).hexdigest() if self._chance.random() < 0.5 else None,
        )
        upload = await self._ask(lambda front: front.parts.create(new))
        tags: dict[int, str] = {}
        ids: dict[int, str] = {}
        turns = list(enumerate(pieces, 1))
        self._chance.shuffle(turns)
        for number, piece in turns:
            self._may_leave()
            if numbered and len(piece) > 1 and self._chance.random() < 0.1:
                await self._once(partial(self._add, upload, piece[::-1], number))
            add = partial(self._add, upload, piece, number if numbered else None)
            part = await self._ask(add)
            tags[number], ids[number] = part.sha256, part.id
        self._may_leave()
        order = OrderOfNumbers(tags) if numbered else OrderOfIds([ids[n] for n in sorted(ids)])
        return await self._complete(upload, order)

    async def _complete(self, upload: Upload, order: PartOrder) -> str:
        wishes: list[Coroutine[Any, Any, Any]] = [
            self._ask(lambda front: front.parts.complete(upload.id, TENANT, order))
            for _ in range(self._chance.choice([1, 1, 2]))
        ]
        if self._parcel.fate == "cancel":
            wishes.append(self._ask(lambda front: front.parts.cancel(upload.id, TENANT)))
            self._chance.shuffle(wishes)
        answers = await asyncio.gather(*wishes, return_exceptions=True)
        files = [answer[1] for answer in answers if isinstance(answer, tuple)]
        if files:
            return files[0].id
        if self._parcel.fate == "cancel":
            raise Abandoned
        raise Unanswered

    async def _add(self, upload: Upload, piece: bytes, number: int | None, front: Front) -> Any:
        async with await front.parts.incoming(upload, number) as incoming:
            await self._feed(incoming, piece)
            return await front.parts.add_part(upload, incoming, number)

    async def _feed(self, incoming: Incoming, data: bytes) -> None:
        """As a body comes in: in pieces, slowly, and sometimes not to its end."""
        for piece in self._cut(data):
            await asyncio.sleep(self._chance.choice([0.0, 0.01, 0.3]))
            if not self._machine.healed and self._chance.random() < _BROKEN_OFF:
                raise ClientGone
            await incoming.write(piece)

    def _cut(self, data: bytes) -> list[bytes]:
        count = min(len(data) - 1, self._chance.choice([0, 1, 3, 6]))
        cuts = sorted(self._chance.sample(range(1, len(data)), count)) if count else []
        return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    @property
    def _details(self) -> NewFile:
        parcel = self._parcel
        return NewFile(TENANT, f"{parcel.name}.jsonl", "batch", parcel.lifetime_seconds)

    def _may_leave(self) -> None:
        if self._parcel.fate == "abandon" and self._chance.random() < 0.4:
            raise Abandoned

    async def _ask(self, work: Callable[[Front], Coroutine[Any, Any, T]]) -> T:
        return await ask(self._machine, work)

    async def _once(self, work: Callable[[Front], Coroutine[Any, Any, T]]) -> T:
        front = self._machine.front
        if front is None:
            raise Unanswered
        return await front.ask(work)

    async def _until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, at - self._now))

    @property
    def _now(self) -> float:
        return self._machine.loop.time()


async def _submit(front: Front, order: Order) -> Any:
    wish = SubmitJob(TENANT, order.parcel.file_id or "", "/v1/chat/completions", "together")
    jobs = front.jobs(order.window_seconds)
    return await jobs.submit(wish, Sending("local", f"order {order.index}"))


async def leave(machine: "Machine", receiver: Receiver) -> None:
    """Delete a webhook, if it is to be."""
    if receiver.leaves_at is None:
        return
    await asyncio.sleep(receiver.leaves_at)
    receiver.is_gone = True
    with suppress(NotFound):
        await ask(machine, lambda front: front.webhooks.delete(receiver.webhook.id, TENANT))
