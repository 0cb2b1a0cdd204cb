"""What a simulated world is asked to do: files and jobs drawn from the seed."""

import json
import random
from dataclasses import dataclass, field
from typing import Final

MODELS: Final = ("m0", "m1", "m2")
NUMBERS_PER_JOB: Final = 10_000
"""The `n` of a body tells the job and the line."""

_ODD_IDS: Final = ('a"b', "\\", "ü", "日本", "\u2028", " ", "\x7f", "😀", "\t", '{"id":1}')


WAYS: Final = ("whole", "link", "parts", "numbered")
"""To upload: in one request, by a signed link, in parts ordered at the end, in numbered parts."""


@dataclass(eq=False)
class Parcel:
    """A file as its user means to upload it."""

    name: str
    at: float
    data: bytes
    way: str
    fate: str
    """`keep`; `delete` some time after; `abandon` half-way; `cancel`, perhaps too late."""
    lifetime_seconds: int | None = None
    file_id: str | None = None
    """Once the user was told."""
    may_be_gone: bool = False
    """It was deleted, or somebody has tried to."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of an input file; `custom_id` is its JSON string as it was written."""

    number: int
    line_number: int
    custom_id: bytes


@dataclass(eq=False)
class Order:
    """A job as it is wished for. Times are seconds after the start of the run."""

    index: int
    parcel: Parcel
    asked: list[Asked]
    faulty_lines: list[int]
    window_seconds: float
    cancel_at: float | None
    delete_input_at: float | None
    job_id: str = ""
    deadline: float = float("inf")
    """Wall time; like the id, known once its user was told."""
    cancelled: bool = False
    """Somebody has tried to cancel it."""
    by_line: dict[int, Asked] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.by_line = {asked.line_number: asked for asked in self.asked}


def parcels(chance: random.Random, until: float) -> list[Parcel]:
    """Some files that no job is made of."""
    fates = ("keep", "delete", "abandon", "cancel")
    return [
        Parcel(
            name=f"stray{number}",
            at=chance.uniform(0.0, until),
            data=chance.randbytes(chance.choice([1, 40, 300, 2_000])),
            way=chance.choice(WAYS),
            fate=chance.choice(fates),
            lifetime_seconds=chance.choice([None, None, 3]),
        )
        for number in range(chance.choice([0, 0, 1, 2, 4]))
    ]


def orders(chance: random.Random, until: float) -> list[Order]:
    """One to five jobs that come in before `until`."""
    return [_order(chance, index, until) for index in range(1, chance.randint(1, 5) + 1)]


def _order(chance: random.Random, index: int, until: float) -> Order:
    count = chance.choice([1, 3, 10, 30, 60, 60, 120])
    models = chance.sample(MODELS, chance.randint(1, len(MODELS)))
    lines, asked, faulty = [], [], []
    for number in range(index * NUMBERS_PER_JOB, index * NUMBERS_PER_JOB + count):
        while chance.random() < 0.02:
            lines.append(b"")
        token = json.dumps(_custom_id(chance, number), ensure_ascii=chance.random() < 0.5)
        asked.append(Asked(number, len(lines) + 1, token.encode()))
        lines.append(_line(chance, token, number, chance.choice(models)))
    if chance.random() < 0.08:
        place = chance.randrange(count)
        faulty = [asked[place].line_number]
        twice = [lines[asked[0].line_number - 1]] if place else []
        broken = [b"{}", b"{", b"3 4", b'{"custom_id":"x","body":3}']
        lines[faulty[0] - 1] = chance.choice([*broken, *twice, *twice])
    parcel = Parcel(
        name=f"order{index}",
        at=chance.uniform(0.0, until / 2),
        data=b"\n".join(lines) + b"\n" * chance.randint(0, 1),
        way=chance.choice(WAYS),
        fate="keep",
        lifetime_seconds=chance.choice([None, None, None, 2]),
    )
    return Order(
        index=index,
        parcel=parcel,
        asked=asked,
        faulty_lines=faulty,
        window_seconds=chance.uniform(0.5, 20.0) if chance.random() < 0.25 else 86_400.0,
        cancel_at=chance.uniform(0.0, until) if chance.random() < 0.25 else None,
        delete_input_at=chance.uniform(0.0, until) if chance.random() < 0.25 else None,
    )


def _custom_id(chance: random.Random, number: int) -> str:
    return f"{number}{chance.choice(_ODD_IDS)}" if chance.random() < 0.2 else f"c{number}"


def _line(chance: random.Random, token: str, number: int, model: str) -> bytes:
    text = chance.choice(["?", "ä" * chance.randint(1, 40), "x" * chance.randint(1, 400), '"\\n'])
    body = {"model": model, "n": number, "messages": [{"role": "user", "content": text}]}
    how = {"ensure_ascii": chance.random() < 0.5}
    if chance.random() < 0.5:
        return f'{{"custom_id": {token}, "body": {json.dumps(body, **how)}}}'.encode()
    tight = json.dumps(body, separators=(",", ":"), **how)
    return f'{{"body":{tight},"custom_id":{token}}}'.encode()
