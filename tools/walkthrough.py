"""The walk-through of docs/quickstart.md: run it as a reader would, command after command.

    python -m tools.walkthrough          from the checkout's root: write what they print now

A `console` block holds commands after `$ ` (`> ` goes on with one) and below each what it prints.
A command that ends in ` &` stays up until the end. The test runs all of them and holds what they
print against the page; what differs from run to run (times, rates, ids, ports) is left out of
account.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "quickstart.md"
SIM_PORT, SERVICE_PORT = "8000", "8024"
"""On the page."""

_BLOCK: Final = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ID: Final = re.compile(r"\b(?:batch_[0-9a-f]{24}|file-[\w-]{20,})")
_PROGRESS: Final = re.compile(r"([a-z][\w ]*): [^ ]+ done,.*", re.IGNORECASE)
_CHANGING: Final = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"\d{4}-\d\d-\d\dT[\d:.]+Z",
        r"[\d,.]+ (?:ms|s|min|h|[KMG]iB|B|days?)\b",
        r"[\d,]+ prompt(?: and|,) [\d,]+ completion",
        r"\b(?:supervisor|api|clerk|worker) \d+",
        r"\brequest req_\w+",
        r"^cancelled: .*",
        r"^  ok    (?:overnight|libraries|settings|room|schema|open files) .*",
        r"\b\d{5,}\b",
    )
)
_PLATFORM: Final = re.compile(r"Linux-[\w.+-]+")
_BACKGROUND_SECONDS_MAX: Final = 30.0
_COMMAND_SECONDS_MAX: Final = 60.0


@dataclass(frozen=True, slots=True)
class Step:
    """A command of the page and what it prints there, standard error included."""

    command: str
    output: str

    @property
    def stays(self) -> bool:
        return self.command.endswith(" &")


def steps(page: str) -> list[Step]:
    return [step for block in _BLOCK.findall(page) for step in _of_block(block)]


def _of_block(block: str) -> Iterator[Step]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        more = next((i for i, line in enumerate(lines[1:], 1) if not line.startswith("> ")), None)
        words = lines[:more]
        command = "\n".join([words[0], *(line[2:] for line in words[1:])])
        yield Step(command, "\n".join([] if more is None else lines[more:]).strip("\n"))


def comparable(output: str) -> list[str]:
    """Its lines without what no two runs have in common.

    Of a progress there is one line: how many, and what they say, depends on the machine.
    """
    lines: list[str] = []
    for line in output.strip().splitlines():
        progress = _PROGRESS.fullmatch(line.rstrip())
        shown = f"{progress[1]}: progress" if progress else _ID.sub("ID", line.rstrip())
        for pattern in _CHANGING:
            shown = pattern.sub("N", shown)
        if not (progress and lines and lines[-1] == shown):
            lines.append(re.sub(r" +", " ", shown))
    return lines


@dataclass(slots=True)
class Reader:
    """Somebody with a shell in `folder`. `ports` says where to go instead of the page's ports."""

    folder: Path
    ports: Mapping[str, str]
    ids: dict[str, str] = field(default_factory=dict)
    """From the page's to those of this run."""

    def take(self, step: Step, stack: ExitStack) -> str:
        """Do it; returns what it printed, with the page's ports."""
        command = step.command
        for ours, theirs in (*self.ports.items(), *self.ids.items()):
            command = command.replace(ours, theirs)
        if step.stays:
            until = len(comparable(step.output)) or 1
            output = stack.enter_context(self._staying(command.removesuffix(" &"), until))
        else:
            output = self._run(command)
        return self._in_the_pages_words(step, output)

    def _in_the_pages_words(self, step: Step, output: str) -> str:
        for ours, theirs in self.ports.items():
            output = output.replace(theirs, ours)
        self.ids |= dict(zip(_ID.findall(step.output), _ID.findall(output), strict=False))
        return output

    def _environment(self) -> dict[str, str]:
        """A shell in which `overnight` is this checkout's and nothing is set.

        But where the service is, if not where the page has it, whose commands need not say.
        """
        ours = {k: v for k, v in os.environ.items() if not k.startswith("OVERNIGHT_")}
        if port := self.ports.get(SERVICE_PORT):
            ours["OVERNIGHT_PORT"] = port
            ours["OVERNIGHT_BASE_URL"] = f"http://127.0.0.1:{port}/v1"
        return ours | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def _run(self, command: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_COMMAND_SECONDS_MAX,
            check=False,
        )
        return done.stdout

    @contextmanager
    def _staying(self, command: str, lines: int) -> Iterator[str]:
        """Goes on once it has printed so many lines."""
        log = self.folder / f".{len(list(self.folder.glob('.*.log')))}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        try:
            deadline = time.monotonic() + _BACKGROUND_SECONDS_MAX
            while len(comparable(said := log.read_text())) < lines:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"`{command}` said only: {said}")
                time.sleep(0.05)
            yield said
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_BACKGROUND_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise


def walk(page: str, folder: Path, ports: Mapping[str, str]) -> Iterator[tuple[Step, str]]:
    """Each step with what it printed this time."""
    reader = Reader(folder, ports)
    with ExitStack() as stack:
        for step in steps(page):
            yield step, reader.take(step, stack)


def written(page: str, outputs: Sequence[str]) -> str:
    """The page with other outputs; which kernel wrote it is nobody's business."""
    fresh = iter(outputs)

    def block(match: re.Match[str]) -> str:
        lines = []
        for step in _of_block(match[1]):
            lines.append("$ " + step.command.replace("\n", "\n> "))
            output = _PLATFORM.sub("Linux-6.12-x86_64-with-glibc2.41", next(fresh).strip())
            lines += [output] if output else []
        return "```console\n" + "\n".join(lines) + "\n```"

    return _BLOCK.sub(block, page)


def main() -> None:
    page = PAGE.read_text()
    with tempfile.TemporaryDirectory(prefix="overnight-walk-") as folder:
        outputs = [output for _, output in walk(page, Path(folder), {})]
    PAGE.write_text(written(page, outputs))


if __name__ == "__main__":
    main()
