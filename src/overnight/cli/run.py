"""`overnight run`: a file in, a file out, without a server."""

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from overnight.cli.messages import ExitCode, say_error
from overnight.cli.options import (
    ConfigOption,
    JsonOption,
    MaxInFlightOption,
    UpstreamKeyOption,
    UpstreamOption,
)
from overnight.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from overnight.service.run import RunOptions, RunProgress, RunResult
    from overnight.settings import Settings

_KEY_FLAG: Final = "--upstream-api-key"

_LABELS: Final = {
    "comparing": "comparing with the earlier run",
    "validating": "validating",
    "sending": "sending",
    "writing": "writing results",
}


def run(  # noqa: PLR0913  a flag each
    input: Annotated[Path, typer.Argument(metavar="INPUT.jsonl", help="File of requests.")],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT.jsonl", help="File for the results.")
    ],
    errors: Annotated[
        Path | None,
        typer.Option(
            metavar="ERR.jsonl",
            help="File for requests that failed, made only if some do [default: OUT.errors.jsonl]",
        ),
    ] = None,
    upstream: UpstreamOption = None,
    upstream_api_key: UpstreamKeyOption = None,
    endpoint: Annotated[
        str, typer.Option(metavar="PATH", help="Endpoint that all requests go to.")
    ] = "/v1/chat/completions",
    max_in_flight: MaxInFlightOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT if it exists.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget what an unfinished run of OUT has.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a file of requests through an upstream.

    Each request gets one result line, in input order. The same command goes on after a crash
    or Ctrl-C. Lines may have `method` and `url` or not.

    \b
    Example:
      overnight run prompts.jsonl -o out.jsonl --upstream http://127.0.0.1:8000/v1
    """
    from overnight.cli.places import beside, check_place
    from overnight.cli.validate import check_endpoint, readable_file
    from overnight.settings import load

    flags: dict[str, object] = {
        "upstream": upstream,
        "upstream_api_key": upstream_api_key,
        "max_in_flight": max_in_flight,
    }
    settings = load(flags, config).settings
    check_endpoint(endpoint, settings.endpoints)
    _need_upstream(settings)
    _warn_of_bases(settings)
    errors = errors or beside(output)
    for path in (output, errors):
        check_place(path)
    paths = (readable_file(input).resolve(), output.resolve(), errors.resolve())
    options = _options(settings, endpoint, *paths)
    result = _carry_out(options, overwrite=overwrite, fresh=fresh)
    _tell(result, str(input), output, errors, as_json=as_json)


def _need_upstream(settings: "Settings") -> None:
    if settings.upstreams:
        return
    refusal = ConfigurationError("There is no upstream to send requests to.")
    refusal.add_note("Name one with --upstream http://127.0.0.1:8000/v1.")
    refusal.add_note("To try without an engine, start `overnight sim` and use the URL it prints.")
    raise refusal


def _warn_of_bases(settings: "Settings") -> None:
    """Ask those whose URL looks as if it lacked a part: the run would wait for them for ever."""
    from overnight.cli.probe import lacks_v1, look_at

    for view in map(look_at, (each for each in settings.upstreams if lacks_v1(each.url))):
        if view.meant:
            print(f"warning: {view.url} {view.trouble}", file=sys.stderr)


def _options(
    settings: "Settings", endpoint: str, input: Path, output: Path, errors: Path
) -> "RunOptions":
    from overnight.options import dispatch_options, lane_options
    from overnight.service.run import RunOptions

    return RunOptions(
        input=input,
        output=output,
        errors=errors,
        endpoint=endpoint,
        rules=settings.limits.line_rules(endpoint),
        upstreams=tuple(lane_options(each, settings) for each in settings.upstreams),
        dispatch=dispatch_options(settings),
    )


def _carry_out(options: "RunOptions", *, overwrite: bool, fresh: bool) -> "RunResult":
    """Run it to its end, or until Ctrl-C, which says how to go on."""
    import asyncio
    from dataclasses import replace

    from overnight.options import fast_loop
    from overnight.seams import Seams
    from overnight.service.run import LocalRun

    options = replace(options, overwrite=overwrite, fresh=fresh)
    with _alone(options.output), _Display() as display:
        work = LocalRun(options, Seams(), display.show)
        try:
            with asyncio.Runner(loop_factory=fast_loop()) as runner:
                return runner.run(work.run())
        except KeyboardInterrupt:
            display.close()
            _interrupted(fresh=fresh)


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Keep a second run of the same output out; raises `ConfigurationError`."""
    import fcntl

    path = output.with_name(output.name + ".lock")
    try:
        lock = path.open("w")
    except OSError as error:
        raise ConfigurationError(f"{output} can not be written: {error.strerror}.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between our opening and locking it, its last owner may have removed it.
            ours = path.exists() and path.samefile(f"/dev/fd/{lock.fileno()}")
        except BlockingIOError:
            ours = False
        if not ours:
            raise ConfigurationError(f"Another `overnight run` is writing {output}.")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def without_keys(words: Sequence[str]) -> list[str]:
    """A command line that may end up in a log."""
    shown = list(words)
    for place, word in enumerate(shown):
        flag, equals, _ = word.partition("=")
        if flag == _KEY_FLAG and equals:
            shown[place] = f"{_KEY_FLAG}=KEY"
        elif flag == _KEY_FLAG and place + 1 < len(shown):
            shown[place + 1] = "KEY"
    return shown


def _interrupted(*, fresh: bool) -> NoReturn:
    words = [word for word in without_keys(sys.argv[1:]) if not (fresh and word == "--fresh")]
    say_error("interrupted; what is done is kept", f"go on with: overnight {shlex.join(words)}")
    raise typer.Exit(ExitCode.INTERRUPTED)


class _Display:
    """One progress line after the other, a stage each."""

    def __init__(self) -> None:
        from overnight.cli.progress import ProgressLine

        self._line_type = ProgressLine
        self._line: ProgressLine | None = None
        self._stage = ""

    def __enter__(self) -> "_Display":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show(self, progress: "RunProgress") -> None:
        from overnight.cli.progress import in_bytes, in_thousands

        if progress.stage != self._stage:
            self.close()
            self._stage = progress.stage
            bytewise = progress.stage in ("comparing", "validating")
            self._line = self._line_type(
                progress.total,
                _LABELS[progress.stage],
                amount=in_bytes if bytewise else in_thousands,
            )
            self._line.__enter__()
        if self._line is not None:
            counts = progress.counts
            self._line.update(
                progress.done,
                failed=counts.failed,
                tokens=counts.tokens if progress.stage == "sending" else None,
                retries=counts.retries,
                note=progress.note,
                total=progress.total,
            )

    def close(self) -> None:
        if self._line is not None:
            self._line.__exit__(None, None, None)
            self._line = None


def _tell(
    result: "RunResult", input: str, output: Path, errors: Path, *, as_json: bool
) -> NoReturn:
    """The last words, and the exit code that says the same."""
    from overnight.cli.faults import show_faults

    counts = result.counts
    if result.faults and not as_json:
        show_faults(result.faults, source=input)
        say_error("the input was refused; nothing was sent")
        raise typer.Exit(ExitCode.INPUT_REFUSED)
    if as_json:
        print(json.dumps(as_data(result, output, errors)))
    elif result.already:
        print(f"{output} is the result of an earlier run of this input; nothing to do.")
    else:
        print(
            f"{result.total:,} requests: {counts.succeeded:,} succeeded, {counts.failed:,} failed"
            + (f"; {result.resumed:,} were done before" if result.resumed else "")
        )
        if counts.retries:
            print(f"  {counts.retries:,} {'retry' if counts.retries == 1 else 'retries'}")
        print(
            f"  {counts.prompt_tokens:,} prompt and {counts.completion_tokens:,} completion tokens"
        )
        print(f"  results  {output}")
        if counts.failed:
            print(f"  errors   {errors}")
    for damage in result.damage:
        say_error(f"stored outcomes were lost: {damage}")
    raise typer.Exit(_exit_code(result))


def _exit_code(result: "RunResult") -> ExitCode:
    if result.faults:
        return ExitCode.INPUT_REFUSED
    if result.damage:
        return ExitCode.OUR_FAILURE
    return ExitCode.SOME_FAILED if result.counts.failed else ExitCode.OK


def as_data(result: "RunResult", output: Path, errors: Path) -> dict[str, object]:
    import msgspec

    counts = result.counts
    figures = {
        "requests": result.total,
        "succeeded": counts.succeeded,
        "failed": counts.failed,
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "resumed": result.resumed,
        "retries": counts.retries,
    }
    return {
        "already_finished": result.already,
        # Of an earlier run nothing was counted now.
        **(dict.fromkeys(figures) if result.already else figures),
        "output": str(output),
        "errors": str(errors) if counts.failed else None,
        "faults": msgspec.to_builtins(result.faults),
    }
