"""A batch of real text through the Together SDK: the input, the looks at it, what came of it."""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice, repeat
from itertools import count as counting
from pathlib import Path
from typing import Any, Final

from overnight.cli.demo.novel import paragraphs
from overnight.domain.errors import Unavailable
from tests.sdk.prepare import environment_of

SDK: Final = "together-3"
MAX_TOKENS: Final = 32
TOO_LONG: Final = "chapters-in-one"
_TOO_LONG_CHARACTERS: Final = 24_000
"""Some five thousand tokens, more than any of the engines is started with room for."""

_PROGRAM: Final = Path(__file__).with_name("together_batch.py")

Line = dict[str, Any]


def requests(model: str, count: int) -> list[Line]:
    """Lines of an input file, a paragraph of the novel each, which is read as often as it takes."""
    return list(islice(chain.from_iterable(map(_reading, repeat(model), counting(1))), count))


def _reading(model: str, number: int) -> Iterator[Line]:
    for paragraph in paragraphs():
        line: Line = json.loads(paragraph.request(model))
        line["body"]["max_tokens"] = MAX_TOKENS
        if number > 1:
            line["custom_id"] += f"-reading-{number}"
        yield line


def too_long(model: str) -> Line:
    """The first chapters in one prompt."""
    text = "\n\n".join(paragraph.text for paragraph in paragraphs())[:_TOO_LONG_CHARACTERS]
    messages = [{"role": "user", "content": text}]
    body = {"model": model, "max_tokens": MAX_TOKENS, "messages": messages}
    return {
        "custom_id": TOO_LONG,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": body,
    }


@dataclass(frozen=True)
class Look:
    """How the batch stands; `seconds` and `usage` are there once it has ended."""

    status: str
    done: int
    failed: int
    total: int
    retries: int
    """Requests that were sent again, once for each time."""
    waiting_for: str | None
    seconds: float | None = None
    usage: dict[str, Any] | None = None
    error: str | None = None


@contextmanager
def batch(service_url: str, lines: Iterable[Line], folder: Path) -> Iterator[Iterator[Look]]:
    """Start it; gives the looks at it, up to the last one. The files are then in `folder`."""
    source = folder / "input.jsonl"
    source.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))
    for name in ("output", "errors"):
        (folder / f"{name}.jsonl").unlink(missing_ok=True)
    sdk = environment_of(SDK)
    sdk.make()
    process = subprocess.Popen(
        [sdk.python, _PROGRAM, service_url, source, folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("TOGETHER_")},
    )
    try:
        yield _looks(process)
    finally:
        process.kill()
        process.communicate()


def _looks(process: "subprocess.Popen[str]") -> Iterator[Look]:
    for line in process.stdout or ():
        yield Look(**json.loads(line))
    if process.wait():
        words = process.stderr.read() if process.stderr else ""
        raise Unavailable(f"the program with the Together SDK failed: {words[-1000:]}")


@dataclass(frozen=True)
class Tally:
    """The files held against the input and against what the job says of itself."""

    requests: int
    succeeded: int
    refused: Counter[int]
    """Error lines by the upstream's status; 0 where it gave none."""
    missing: int
    twice: int
    in_order: bool
    prompt_tokens: int
    completion_tokens: int
    job_tokens: tuple[int, int]

    @property
    def whole(self) -> bool:
        """One result for each request, in order, and the tokens of the lines are the job's."""
        tokens = (self.prompt_tokens, self.completion_tokens)
        return not self.missing and not self.twice and self.in_order and tokens == self.job_tokens

    def __str__(self) -> str:
        refused = ", ".join(f"{n} failed with {status}" for status, n in self.refused.items())
        return (
            f"{self.requests} requests: {self.succeeded} results, {refused or '0 failed'}, "
            f"{self.missing} missing, {self.twice} twice"
        )


def tally(lines: Sequence[Line], folder: Path, last: Look) -> Tally:
    output, errors = (_read(folder / f"{name}.jsonl") for name in ("output", "errors"))
    times = Counter(line["custom_id"] for line in (*output, *errors))
    places = {line["custom_id"]: place for place, line in enumerate(lines)}
    found = [places[line["custom_id"]] for line in output]
    usages = [line["response"]["body"]["usage"] for line in output]
    usage = last.usage or {}
    return Tally(
        requests=len(lines),
        succeeded=len(output),
        refused=Counter((line["response"] or {}).get("status_code", 0) for line in errors),
        missing=sum(custom_id not in times for custom_id in places),
        twice=sum(n > 1 for n in times.values()),
        in_order=found == sorted(found),
        prompt_tokens=sum(one["prompt_tokens"] for one in usages),
        completion_tokens=sum(one["completion_tokens"] for one in usages),
        job_tokens=(usage.get("input_tokens", 0), usage.get("output_tokens", 0)),
    )


def _read(path: Path) -> list[Line]:
    # Not `splitlines` of a text: answers may have separators that only Unicode knows.
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
