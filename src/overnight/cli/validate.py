"""`overnight validate`: the validator alone."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from overnight.cli.messages import ExitCode, say_error
from overnight.cli.options import ConfigOption, JsonOption, UpstreamKeyOption
from overnight.cli.progress import counted
from overnight.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from overnight.cli.served import Served
    from overnight.domain.request import LineRules
    from overnight.service.survey import Survey
    from overnight.service.validator import ValidatedPlan, Validation

_MODELS_SHOWN_MAX: Final = 20

_BAR_FROM_BYTES: Final = 64 * 1024 * 1024
"""Smaller files are done before anybody looks."""

REPORT_FIELDS: Final = {
    "valid": "whether the file would be accepted",
    "faults": "what is wrong: `code`, `message`, `line`, `param`, `excerpt`, `marked`",
    "lines": "lines that are not blank; null when reading ended early",
    "fine_lines": "those of them without a fault; null when reading ended early",
    "requests": "how many requests there are",
    "models": "each model with the number of its requests",
    "endpoint": "the one the lines name, or `--endpoint`; null when there is neither",
    "bytes": "length of the file",
    "body_bytes": "length of all bodies",
    "prompt_tokens": "about how many: bytes of the prompts' text in UTF-8, divided by four",
    "repeated_bodies": "requests whose body is byte by byte that of an earlier one",
    "longest_line": "its number (`line`) and length (`bytes`)",
    "shards": "pieces that workers would claim",
    "digest": "xxh3-128 of the file, in hex",
    "served": "with `--upstream`: each model with the URLs of those that serve it",
    "silent": "with `--upstream`: each URL that did not say what it serves, and why",
}
"""What `--json` prints. All are always there; those behind `fine_lines` are null with faults."""


@dataclass(frozen=True, slots=True)
class _Checked:
    """Everything there is to tell of one file."""

    input: Path
    endpoint: str | None
    validation: "Validation"
    survey: "Survey"
    served: "Served | None"


def validate(
    input: Annotated[Path, typer.Argument(metavar="INPUT.jsonl", help="File of requests.")],
    *,
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Endpoint that all lines must be for [default: any, the same on all lines]",
        ),
    ] = None,
    upstream: Annotated[
        list[str] | None,
        typer.Option(
            "--upstream",
            metavar="URL",
            help="Ask this server whether it serves the models; may be repeated.",
        ),
    ] = None,
    upstream_api_key: UpstreamKeyOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a file of requests without sending any.

    Takes lines with and without `method` and `url`. Asks no server but those of `--upstream`.
    Exits with 3 when the file has faults, and with 1 when it is fine but a server that was to
    say whether it serves a model did not answer.

    \b
    Examples:
      overnight validate prompts.jsonl
      overnight validate prompts.jsonl --upstream http://127.0.0.1:8000/v1
      overnight validate prompts.jsonl --json | jq '.faults[].line'
    """
    from overnight.cli.served import ask
    from overnight.settings import load

    flags = {"upstream": upstream, "upstream_api_key": upstream_api_key}
    settings = load(flags if upstream else {}, config).settings
    check_endpoint(endpoint, settings.endpoints)
    readable_file(input)
    served = ask(settings.upstreams) if upstream else None
    checked = _check(input, settings.limits.line_rules(endpoint), served)
    if as_json:
        print(json.dumps(_as_data(checked)))
    else:
        _show(checked)
    raise typer.Exit(_verdict(checked))


def check_endpoint(endpoint: str | None, extra: Sequence[str]) -> None:
    """Raises `ConfigurationError` for one that no job can be for."""
    from overnight.domain.line import ENDPOINTS

    known = (*ENDPOINTS, *extra)
    if endpoint is not None and endpoint not in known:
        refusal = ConfigurationError(f"'{endpoint}' is no endpoint that jobs can be for.")
        refusal.add_note(f"There are {', '.join(known)}; others are added by `endpoints` in TOML.")
        raise refusal


def readable_file(path: Path) -> Path:
    """The path itself; raises `ConfigurationError` when it is no file we can read."""
    if str(path) == "-":
        refusal = ConfigurationError("Standard input can not be read; the input must be a file.")
        refusal.add_note("It is read more than once: save it first, as with `… > input.jsonl`.")
        raise refusal
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise ConfigurationError(f"{path} can not be read: {error.strerror}.") from error
    if not path.is_file():
        raise ConfigurationError(f"{path} is a pipe or a device; it must be a file.")
    return path


def _check(input: Path, rules: "LineRules", served: "Served | None") -> _Checked:
    """Go through the whole file, with a progress bar if it is long."""
    from contextlib import closing, nullcontext

    from overnight.cli.progress import ProgressLine, in_bytes
    from overnight.seams import SystemDisk
    from overnight.service.survey import Survey
    from overnight.service.validator import Validation

    survey = Survey()
    with closing(SystemDisk().open(input)) as file:
        models = served.models if served is not None else None
        validation = Validation(file, _Discarded(), rules, models)
        validation.observer = survey.look_at
        size = file.size()
        long = size >= _BAR_FROM_BYTES
        with ProgressLine(size, "validating", amount=in_bytes) if long else nullcontext() as line:
            for step in validation.steps():
                if line is not None:
                    line.update(step.bytes_done)
    return _Checked(input, rules.endpoint, validation, survey, served)


def _verdict(checked: _Checked) -> ExitCode:
    plan = checked.validation.plan
    if plan is None:
        return ExitCode.INPUT_REFUSED
    if checked.served is not None and checked.served.unknown(plan.models):
        return ExitCode.OUR_FAILURE
    return ExitCode.OK


def _show(checked: _Checked) -> None:
    from overnight.cli.faults import show_faults

    plan, served = checked.validation.plan, checked.served
    if plan is None:
        show_faults(checked.validation.faults, source=str(checked.input))
        if (known := _counted_lines(checked.validation)) is not None:
            lines, fine = known
            print(f"{counted(lines, 'line')} read, {fine:,} without a fault")
    else:
        rows = list(_rows(plan, checked))
        print(f"{counted(plan.total, 'request')}, no faults")
        for label, text in rows:
            print(f"  {label:<9} {text}")
    if served is None:
        return
    sys.stdout.flush()
    for view in served.silent:
        print(f"warning: {view.url}: {view.trouble}", file=sys.stderr)
    if plan is not None and (unknown := served.unknown(plan.models)):
        say_error(f"nobody could be asked about {_listed(unknown)}; the file is fine otherwise")


def _rows(plan: "ValidatedPlan", checked: _Checked) -> Iterator[tuple[str, str]]:
    """The summary of a file without faults: labels and texts."""
    from overnight.cli.progress import in_bytes

    survey = checked.survey
    yield "endpoint", plan.url or checked.endpoint or "not named; the batch will say"
    yield from _model_rows(plan, checked.served)
    yield "size", f"{in_bytes(plan.bytes_read)}, {in_bytes(plan.body_bytes)} of it bodies"
    yield "prompts", f"about {survey.prompt_tokens:,} tokens (bytes of text / 4)"
    if repeated := survey.repeated_bodies():
        verb = "repeats" if repeated == 1 else "repeat"
        yield "repeats", f"{counted(repeated, 'request')} {verb} an earlier body"
    yield "longest", f"line {survey.longest_line:,}, {in_bytes(survey.longest_line_bytes)}"
    yield "shards", f"{len(plan.shards):,}"


def _model_rows(plan: "ValidatedPlan", served: "Served | None") -> Iterator[tuple[str, str]]:
    counts = _requests_by_model(plan).most_common()
    shown = counts[:_MODELS_SHOWN_MAX]
    width = max(len(model) for model, _ in shown)
    for number, (model, count) in enumerate(shown):
        where = ""
        if served is not None:
            urls = served.by(model)
            where = f", served by {', '.join(urls)}" if urls else ", unknown who serves it"
        label = "" if number else "models" if len(counts) > 1 else "model"
        yield label, f"{model:<{width}}  {counted(count, 'request')}{where}"
    if len(counts) > len(shown):
        yield "", f"and {len(counts) - len(shown):,} more"


def _requests_by_model(plan: "ValidatedPlan") -> Counter[str]:
    counts: Counter[str] = Counter()
    for shard in plan.shards:
        counts[shard.model] += shard.requests
    return counts


def _counted_lines(validation: "Validation") -> tuple[int, int] | None:
    """Lines that are not blank, and those without a fault; None when reading ended early."""
    if not validation.read_to_end:
        return None
    faulty = {fault.line for fault in validation.faults} - {None}
    return validation.lines_filled, validation.lines_filled - len(faulty)


def _listed(models: Sequence[str]) -> str:
    more = len(models) - 3
    return ", ".join(models[:3]) + (f" and {more:,} more" if more > 0 else "")


def _as_data(checked: _Checked) -> dict[str, object]:
    import msgspec

    validation, survey, served = checked.validation, checked.survey, checked.served
    plan = validation.plan
    lines, fine = _counted_lines(validation) or (None, None)
    data: dict[str, object] = dict.fromkeys(REPORT_FIELDS)
    data |= {
        "valid": plan is not None,
        "faults": msgspec.to_builtins(validation.faults),
        "lines": lines,
        "fine_lines": fine,
    }
    if served is not None:
        data["silent"] = {view.url: view.trouble for view in served.silent}
    if plan is None:
        return data
    models = _requests_by_model(plan)
    return data | {
        "requests": plan.total,
        "models": dict(models),
        "endpoint": plan.url or checked.endpoint,
        "bytes": plan.bytes_read,
        "body_bytes": plan.body_bytes,
        "prompt_tokens": survey.prompt_tokens,
        "repeated_bodies": survey.repeated_bodies(),
        "longest_line": {"line": survey.longest_line, "bytes": survey.longest_line_bytes},
        "shards": len(plan.shards),
        "digest": plan.input_digest,
        "served": served and {model: served.by(model) for model in models},
    }


class _Discarded:
    """A plan file for nobody."""

    def append(self, parts: Sequence[bytes]) -> None:
        pass

    def datasync(self) -> None:
        pass

    def close(self) -> None:
        pass
