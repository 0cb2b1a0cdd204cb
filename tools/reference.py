"""Write the pages of docs/ that follow from the code, and the parts of pages that do.

    python -m tools.reference            from the checkout's root

A test holds what is committed against what this would write, so neither can drift.
"""

import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from overnight.api import openai_shapes, together_shapes
from overnight.api.refusals import REFUSALS, example_body
from overnight.cli.main import app
from overnight.cli.messages import ExitCode
from overnight.cli.validate import REPORT_FIELDS
from overnight.domain.fault_codes import FaultCode
from overnight.domain.job import TERMINAL, TRANSITIONS, JobEvent, JobStatus
from overnight.domain.request import FAULTS_MAX
from overnight.settings import ENVIRONMENT_PREFIX, Settings, UpstreamSettings

ROOT: Final = Path(__file__).resolve().parent.parent
DOCS: Final = ROOT / "docs"

_WRITTEN: Final = "<!-- Written by tools/reference.py. -->"

_HOW_SETTINGS_ARE_FOUND: Final = (
    "A value is looked for in the flags of the command, then in the environment, then in a TOML"
    " file (`overnight.toml` in the current folder, or `--config FILE`), then here. `overnight"
    " config show` prints what is in force and where each value came from."
)

_HOW_UPSTREAMS_ARE_NAMED: Final = (
    "One table for each server. `--upstream URL` on the command line, or"
    f" `{ENVIRONMENT_PREFIX}UPSTREAM`, is short for one with nothing but a `url`;"
    " `--upstream-api-key`, `--max-in-flight` and `--lanes`"
    f" (`{ENVIRONMENT_PREFIX}UPSTREAM_API_KEY`, `{ENVIRONMENT_PREFIX}MAX_IN_FLIGHT`,"
    f" `{ENVIRONMENT_PREFIX}LANES`) are for all of them."
)

_EXAMPLE: Final = """\
```toml
data_dir = "/var/lib/overnight"

[[upstreams]]
url = "http://10.0.0.5:8000/v1"
max_in_flight = 256

[retry]
attempts_max = 3
```"""

_MEANINGS: Final[Mapping[ExitCode, str]] = {
    ExitCode.OK: "done",
    ExitCode.OUR_FAILURE: "a failure of ours",
    ExitCode.USAGE: "wrong usage or configuration",
    ExitCode.INPUT_REFUSED: "the input has faults; nothing was sent",
    ExitCode.SOME_FAILED: "finished, but some requests failed",
    ExitCode.NOT_FINISHED: "cancelled or expired; to `jobs download`, not done yet as well",
    ExitCode.INTERRUPTED: "interrupted; it says how to resume",
}


# The command line


def cli_page() -> str:
    root = get_command(app)
    parts = [
        _WRITTEN,
        "# Commands",
        "All of these also work as `python -m overnight …`.",
        *(
            part
            for path, command in _commands("overnight", root)
            for part in _section(path, command)
        ),
        "## Exit codes",
        "The same for all commands.",
        _table(["code", "meaning"], [[f"{code:d}", _MEANINGS[code]] for code in ExitCode]),
    ]
    return "\n\n".join(parts) + "\n"


def _commands(path: str, command: object) -> Iterator[tuple[str, TyperCommand]]:
    """Every command with the words that call it; groups are gone through."""
    if isinstance(command, TyperGroup):
        for name, member in command.commands.items():
            yield from _commands(f"{path} {name}", member)
    elif isinstance(command, TyperCommand) and not command.hidden:
        yield path, command


def _section(path: str, command: TyperCommand) -> Iterator[str]:
    arguments = [param for param in command.params if isinstance(param, TyperArgument)]
    options = [
        param for param in command.params if isinstance(param, TyperOption) and not param.hidden
    ]
    usage = [path, *(_place(one) for one in arguments)]
    yield f"## `{' '.join(usage)}`"
    yield _paragraph(command.help)
    rows = [
        [f"`{_spelling(option)}`", _meaning(option)] for option in options if option.name != "help"
    ]
    if rows:
        yield _table(["option", "meaning"], rows)


def _place(argument: TyperArgument) -> str:
    name = argument.metavar or (argument.name or "").upper()
    return name if argument.required else f"[{name}]"


def _spelling(option: TyperOption) -> str:
    names = ", ".join(option.opts)
    if option.is_flag:
        return names
    is_number = option.type_descriptor.annotation in (int, float)
    return f"{names} {option.metavar or ('N' if is_number else 'TEXT')}"


def _meaning(option: TyperOption) -> str:
    said, default = option.help or "", option.default
    if option.required:
        return f"{said} Required."
    if default in (None, False) or "[default" in said:
        return said
    shown = f"{default:g}" if isinstance(default, float) else str(default)
    return f"{said} [default: {shown}]"


def _paragraph(help: str | None) -> str:
    """Docstring lines joined, examples as code; what follows a form feed is not for help."""
    prose, _, examples = (help or "").split("\f")[0].strip().partition("\n\n\b\n")
    joined = re.sub(r"(?<!\n)\n(?!\n)", " ", prose)
    if not examples:
        return joined
    code = textwrap.dedent(examples.partition("\n")[2]).strip()
    return f"{joined}\n\n```sh\n{code}\n```"


# The settings


def settings_page() -> str:
    parts = [
        _WRITTEN,
        "# Settings",
        _HOW_SETTINGS_ARE_FOUND,
        _settings_table(Settings),
    ]
    for name, group in _groups():
        parts += [f"## `[{name}]`", _settings_table(group, f"{name}.")]
    parts += [
        "## `[[upstreams]]`",
        _HOW_UPSTREAMS_ARE_NAMED,
        _settings_table(UpstreamSettings, "upstreams."),
        _EXAMPLE,
    ]
    return "\n\n".join(parts) + "\n"


def _groups() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield name, type(field.default)


def _settings_table(model: type[BaseModel], prefix: str = "") -> str:
    groups = {name for name, _ in _groups()} if model is Settings else set()
    rows = []
    for name, field in model.model_fields.items():
        if name in groups:
            continue
        row = [f"`{name}`", _default(field), _paragraph(field.description)]
        if model is not UpstreamSettings:
            variable = ENVIRONMENT_PREFIX + (prefix + name).replace(".", "__").upper()
            row.insert(1, f"`{variable}`")
        rows.append(row)
    header = ["name", "default", "meaning"]
    if model is not UpstreamSettings:
        header.insert(1, "environment")
    return _table(header, rows)


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is PydanticUndefined:
        return "required"
    if default is None:
        return "unset"
    if default == ():
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, float):
        return f"`{default:g}`"
    return f"`{default}`{_in_units(default)}"


def _in_units(value: object) -> str:
    """A large count of bytes as people say it, behind the number."""
    for unit, size in (("GiB", 1024**3), ("MiB", 1024**2)):
        if isinstance(value, int) and value >= size and value % size == 0:
            return f" ({value // size} {unit})"
    return ""


# The faults of an input file

_HOW_FAULTS_ARE_TOLD: Final = f"""\
A file with faults is refused as a whole before anything is sent. `overnight validate` and
`overnight run` print them and exit with {ExitCode.INPUT_REFUSED:d}; a job of the service becomes
FAILED and carries them: in the OpenAI API as `errors.data[]` with `code`, `message`, `param` and
`line`, and beside these the text in question (`excerpt`) and from which of its characters to which
the fault itself reaches (`marked`); in the Together API as one string, `error`. A line is told its
first fault, and checking ends at {FAULTS_MAX:,} of them. A fault without a `line` is the whole
file's: if its first lines are all wrong in the same way, that is one fault and not thousands."""

_NO_FAULTS: Final = """\
Blank lines, CRLF, a byte order mark at the start, a missing last line break, fields in any order,
fields that are not known, several models. Of a name that occurs twice in an object the last counts.
What is in a body beyond the model, `stream` and the presence of its content is not looked at: the
upstream's refusal then is the answer of that one request."""


_HOW_THE_REPORT_IS_TOLD: Final = """\
One object, with all of these fields. Those behind `fine_lines` are null when there are faults, but
for `silent`."""


def faults_page() -> str:
    return (
        "\n\n".join(
            [
                _WRITTEN,
                "# Faults of an input file",
                _HOW_FAULTS_ARE_TOLD,
                _table(
                    ["code", "when", "what to do"],
                    [[f"`{code}`", code.when, code.remedy] for code in FaultCode],
                ),
                "## What is no fault",
                _NO_FAULTS,
                "## `overnight validate --json`",
                _HOW_THE_REPORT_IS_TOLD,
                _table(
                    ["field", "meaning"],
                    [[f"`{name}`", meaning] for name, meaning in REPORT_FIELDS.items()],
                ),
            ]
        )
        + "\n"
    )


# The errors of the API

_HOW_ERRORS_ARE_TOLD: Final = """\
Every error, on every route and of both dialects, has this body, so that all official clients can
read it; `param` names what was wrong, where something was, and `code` is for programs:"""

_WHERE_DOCUMENTS_ARE: Final = """\
Which of them a route may answer is in the OpenAPI documents that the service has at
`/openai/openapi.json` and `/together/openapi.json`."""

_WHAT_IS_REPEATED: Final = """\
The official clients repeat what failed with 408, 409, 429 or 5xx by themselves. Where that can not
help the reply has `x-should-retry: false`, and 503 has `Retry-After`; so only 408 and 503
are repeated. Every reply has `x-request-id`, which finds what the service logged of it."""


def errors_page() -> str:
    rows = [
        [str(status), refusal.meaning, f"`{refusal.code}`: {refusal.message}"]
        for status, refusal in REFUSALS.items()
    ]
    shown = json.dumps(example_body(400), indent=2, ensure_ascii=False)
    return (
        "\n\n".join(
            [
                _WRITTEN,
                "# Errors of the API",
                _HOW_ERRORS_ARE_TOLD,
                f"```json\n{shown}\n```",
                _table(["status", "when", "for example"], rows),
                _WHERE_DOCUMENTS_ARE,
                "## What is worth repeating",
                _WHAT_IS_REPEATED,
                "What is wrong in an input file is told otherwise: see its [faults](faults.md).",
            ]
        )
        + "\n"
    )


# The states of a job


def states_picture() -> str:
    """The transition table as Mermaid; events that lead to one place share an arrow."""
    arrows: dict[tuple[JobStatus, JobStatus], list[JobEvent]] = {}
    for (source, event), target in TRANSITIONS.items():
        arrows.setdefault((source, target), []).append(event)
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> validating: created"]
    for (source, target), events in arrows.items():
        lines.append(
            f"    {source.value} --> {target.value}: {' / '.join(e.value for e in events)}"
        )
    lines += [f"    {status.value} --> [*]" for status in JobStatus if status in TERMINAL]
    return "\n".join([*lines, "```"])


def states_table() -> str:
    together, openai = together_shapes.STATUS, openai_shapes.STATUS
    rows = [
        [f"`{word}`" for word in (status.value, together[status], openai[status])]
        for status in JobStatus
    ]
    return _table(["inside", "Together", "OpenAI"], rows)


# Where it all goes

PAGES: Final[Mapping[Path, Callable[[], str]]] = {
    DOCS / "reference" / "cli.md": cli_page,
    DOCS / "reference" / "errors.md": errors_page,
    DOCS / "reference" / "faults.md": faults_page,
    DOCS / "reference" / "settings.md": settings_page,
}

PARTS: Final[Mapping[Path, Mapping[str, Callable[[], str]]]] = {
    DOCS / "concepts" / "job-lifecycle.md": {
        "states": states_picture,
        "spellings": states_table,
    },
}
"""Parts of pages that are by hand otherwise: what stands between the marks of that name."""


def contents() -> dict[Path, str]:
    """What every page should hold; raises `ValueError` when one has lost its marks."""
    wanted = {path: make() for path, make in PAGES.items()}
    for path, parts in PARTS.items():
        text = path.read_text()
        for name, make in parts.items():
            text = _with_part(text, name, make())
        wanted[path] = text
    return wanted


def _with_part(text: str, name: str, part: str) -> str:
    begin, end = f"<!-- {name}: written by tools/reference.py -->", f"<!-- end of {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"the page should hold '{begin}' and '{end}' once each")
    before, rest = text.split(begin)
    return f"{before}{begin}\n\n{part}\n\n{end}{rest.split(end)[1]}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def main() -> int:
    for path, text in contents().items():
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
