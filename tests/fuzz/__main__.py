"""Fuzzing: bytes are made up until they break a rule, led by the branches they reach.

python -m tests.fuzz --seconds 60                      every target for a minute
python -m tests.fuzz file_validation --executions 5000
python -m tests.fuzz file_validation --replay FILE     again, with the traceback
python -m tests.fuzz file_validation --seconds 600 --keep     and keep what reached new branches

Bytes that break a rule are put into the corpus, and tried by every run of the tests from then on.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
# Tests import each other by names that begin below this folder.
sys.path.insert(0, str(ROOT / "tests"))

from fuzz.target import CORPORA, Target  # noqa: E402

TARGETS: Final = (
    "file_validation",
    "reply_parsing",
    "form_reading",
    "segment_scanning",
    "plan_reading",
)
_SEED: Final = 20261121
_INPUT_SECONDS_MAX: Final = 20
_KEPT_BYTES_MAX: Final = 800


class Run(NamedTuple):
    """What a run came to. `branches` counts only what is written in Python."""

    executions: int
    branches: int
    crash: Path | None
    log: str


def target(name: str) -> Target:
    """Imports what it fuzzes."""
    module = __import__(f"fuzz.{name}", fromlist=["TARGET"])
    found: Target = module.TARGET
    return found


def fuzz(name: str, *, seconds: int = 0, executions: int = -1, keep: bool = False) -> Run:
    """Fuzz in a process of its own, which the fuzzer ends in its own way."""
    corpus = CORPORA / name
    corpus.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        found = Path(folder) / "found"
        found.mkdir()
        options = [
            f"-artifact_prefix={corpus}/",
            f"-runs={executions}",
            f"-max_total_time={seconds}",
            f"-timeout={_INPUT_SECONDS_MAX}",
            f"-seed={_SEED if executions >= 0 else 0}",
            "-rss_limit_mb=1024",
            "-print_final_stats=1",
        ]
        log = _in_own_process(name, *options, str(found), str(corpus))
        if keep:
            _keep(name, found, corpus)
    crashed = re.search(r"Test unit written to (\S+)", log)
    return Run(
        _number(r"stat::number_of_executed_units:\s+(\d+)", log),
        _number(r"cov: (\d+)", log),
        Path(crashed[1]) if crashed else None,
        log,
    )


def told(name: str, run: Run) -> str:
    """One line for a run that found nothing; for others the fault and how to see it again."""
    if run.crash is None:
        return f"{name:<18}{run.executions:>12,} executions {run.branches:>6,} branches"
    again = f"python -m tests.fuzz {name} --replay {run.crash.relative_to(ROOT)}"
    tail = "\n".join(f"  {line}" for line in run.log.splitlines() if "#0 0x" not in line)
    return f"{tail}\n{name} breaks a rule; again: .venv/bin/{again}"


def _in_own_process(name: str, *options: str) -> str:
    command = [sys.executable, "-m", "tests.fuzz", name, "--inner", *options]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    log = done.stdout.decode("utf-8", "replace")
    if done.returncode and "Test unit written to" not in log:
        raise RuntimeError(f"the fuzzer itself failed:\n{log[-4_000:]}")
    return log


def _keep(name: str, found: Path, corpus: Path) -> None:
    """Make the corpus few inputs that reach all that was reached. Those that broke a rule stay, and
    those that somebody wrote (`seed-…`)."""
    small, chosen = found.with_name("small"), found.with_name("chosen")
    small.mkdir()
    chosen.mkdir()
    for path in found.iterdir():
        if path.stat().st_size <= _KEPT_BYTES_MAX:
            shutil.copy(path, small)
    _in_own_process(name, "-set_cover_merge=1", str(chosen), str(small), str(corpus))
    for path in corpus.iterdir():
        if not path.name.startswith(("crash-", "seed-")):
            path.unlink()
    for path in chosen.iterdir():
        if not (corpus / path.name).exists():
            shutil.copy(path, corpus)


def _number(pattern: str, log: str) -> int:
    found = re.findall(pattern, log)
    return int(found[-1]) if found else 0


def _run_inner(name: str, options: list[str]) -> None:
    """What the process of its own does; never returns."""
    import atheris

    with atheris.instrument_imports(include=["overnight", "python_multipart"]):
        chosen = target(name)
    with TemporaryDirectory() as folder:
        words = Path(folder) / "words"
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in chosen.words))
        dictionary = [f"-dict={words}"] if chosen.words else []
        limits = [f"-max_len={chosen.bytes_max}", *dictionary]
        # Merging starts the program that it is told it is, again and again.
        again = Path(folder) / "again"
        again.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.fuzz {name} --inner "$@"\n')
        again.chmod(0o755)
        atheris.Setup([str(again), *limits, *options], chosen.check)
        atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", choices=TARGETS, help="one of them; all by default")
    parser.add_argument("--seconds", type=int, default=0, help="how long, for each")
    parser.add_argument("--executions", type=int, default=-1, help="how many, for each")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="give it these bytes, once")
    parser.add_argument("--keep", action="store_true", help="add what reached something new")
    parser.add_argument("--inner", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inner is not None:
        _run_inner(given.name, given.inner)
    if given.replay is not None:
        target(given.name or given.replay.resolve().parent.name).check(given.replay.read_bytes())
        print("no rule is broken")
        return 0
    if given.executions < 0 and not given.seconds:
        parser.error("say how long, such as --seconds 60")
    failed = False
    for name in [given.name] if given.name else TARGETS:
        run = fuzz(name, seconds=given.seconds, executions=given.executions, keep=given.keep)
        print(told(name, run), flush=True)
        failed = failed or run.crash is not None
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
