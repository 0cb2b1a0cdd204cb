"""`overnight validate`: the validator alone."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from overnight.cli.messages import ExitCode, say_error
from overnight.cli.options import ConfigOption, JsonOption
from overnight.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from overnight.domain.request import Fault, LineRules
    from overnight.service.validator import ValidatedPlan, Validation

_SHOWN_MAX: Final = 20
"""Faults shown on a terminal; a file or a program gets them all."""

_BAR_FROM_BYTES: Final = 64 * 1024 * 1024
"""Smaller files are done before anybody looks."""


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
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a file of requests without sending any.

    Takes lines with and without `method` and `url`.
    """
    from overnight.settings import load

    settings = load({}, config).settings
    check_endpoint(endpoint, settings.endpoints)
    validation = validated(input, settings.limits.line_rules(endpoint))
    plan = validation.plan
    if as_json:
        print(json.dumps(_as_data(validation.faults, plan)))
    elif plan is not None:
        print(summary(plan))
    else:
        show_faults(validation.faults)
    raise typer.Exit(ExitCode.INPUT_REFUSED if plan is None else ExitCode.OK)


def check_endpoint(endpoint: str | None, extra: Sequence[str]) -> None:
    """Raises `ConfigurationError` for one that no job can be for."""
    from overnight.domain.line import ENDPOINTS

    known = (*ENDPOINTS, *extra)
    if endpoint is not None and endpoint not in known:
        refusal = ConfigurationError(f"'{endpoint}' is no endpoint that jobs can be for.")
        refusal.add_note(f"There are {', '.join(known)}; others are added by `endpoints` in TOML.")
        raise refusal


def validated(input: Path, rules: "LineRules") -> "Validation":
    """Go through the whole file, with a progress bar if it is long."""
    from contextlib import closing, nullcontext

    from overnight.cli.progress import ProgressLine, in_bytes
    from overnight.seams import SystemDisk
    from overnight.service.validator import Validation

    with closing(SystemDisk().open(readable_file(input))) as file:
        validation = Validation(file, _Discarded(), rules)
        size = file.size()
        long = size >= _BAR_FROM_BYTES
        with ProgressLine(size, "validating", amount=in_bytes) if long else nullcontext() as line:
            for step in validation.steps():
                if line is not None:
                    line.update(step.bytes_done)
    return validation


def readable_file(path: Path) -> Path:
    """The path itself; raises `ConfigurationError` when it is no file we can read."""
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise ConfigurationError(f"{path} can not be read: {error.strerror}.") from error
    if not path.is_file():
        raise ConfigurationError(f"{path} is a pipe or a device; it must be a file.")
    return path


def summary(plan: "ValidatedPlan") -> str:
    from overnight.cli.progress import in_bytes

    shown = ", ".join(plan.models[:_SHOWN_MAX])
    more = f" and {len(plan.models) - _SHOWN_MAX:,} more" if len(plan.models) > _SHOWN_MAX else ""
    return "\n".join(
        [
            f"{_counted(plan.total, 'request')}, no faults",
            f"  models  {shown}{more}",
            f"  size    {in_bytes(plan.bytes_read)}, {in_bytes(plan.body_bytes)} of it bodies",
            f"  shards  {len(plan.shards):,}",
            *([f"  for     {plan.url}"] if plan.url else []),
        ]
    )


def show_faults(faults: Sequence["Fault"]) -> None:
    """One line each on standard output, the count on standard error."""
    from overnight.domain.request import FAULTS_MAX

    shown = faults[:_SHOWN_MAX] if sys.stdout.isatty() else faults
    for fault in shown:
        print(worded(fault))
    if len(shown) < len(faults):
        print(f"… and {len(faults) - len(shown):,} more; send them to a file to see all")
    count = (
        f"at least {FAULTS_MAX:,} faults"
        if len(faults) >= FAULTS_MAX
        else _counted(len(faults), "fault")
    )
    say_error(f"the input has {count}")


def worded(fault: "Fault") -> str:
    """Such as `line 3: custom_id: … [duplicate_custom_id]`."""
    places = (f"line {fault.line}" if fault.line is not None else "file", fault.param)
    place = ": ".join(place for place in places if place)
    return f"{place}: {fault.message} [{fault.code}]"


def _counted(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"


def _as_data(faults: Sequence["Fault"], plan: "ValidatedPlan | None") -> dict[str, object]:
    import msgspec

    if plan is None:
        return {"valid": False, "faults": msgspec.to_builtins(faults)}
    return {
        "valid": True,
        "faults": [],
        "requests": plan.total,
        "models": plan.models,
        "bytes": plan.bytes_read,
        "body_bytes": plan.body_bytes,
        "shards": len(plan.shards),
        "endpoint": plan.url,
        "digest": plan.input_digest,
    }


class _Discarded:
    """A plan file for nobody."""

    def append(self, parts: Sequence[bytes]) -> None:
        pass

    def datasync(self) -> None:
        pass

    def close(self) -> None:
        pass
