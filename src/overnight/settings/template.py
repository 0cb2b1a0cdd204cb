"""A configuration file to begin with: every setting as a comment, with its default and meaning.

Prose stands behind `# `, a setting behind `#` alone: taking that away puts it in force.
"""

import json
import textwrap
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

from overnight.settings.fields import SettingField, setting_fields

_WIDTH: Final = 88

_HEAD: Final = """\
# Settings of Overnight. Each stands here with its default, and is in force without the `#`
# before its name. Flags and OVERNIGHT_… variables win over this file; `overnight config show`
# prints what is in force, and why.
"""

_EXAMPLES: Final = {
    "url": "http://127.0.0.1:8000/v1",
    "api_key": "sk-…",
    "public_url": "https://batch.example.com",
    "storage_bytes_max": 1024**4,
    "requests_max": 50_000,
}
"""For what has no default, since TOML can not say «unset»."""

_ABOUT: Final = {
    "upstreams": "The servers that answer the requests; one such table for each.",
    "limits": "What is refused because it is too large.",
    "retry": "How often, and after which waits, a failed request is sent again.",
    "timeouts": "For replies of upstreams.",
    "webhooks": "Where to and for how long the ends of jobs are told.",
}


def template() -> str:
    """The text of an `overnight.toml` that says nothing but the defaults."""
    parts = [_HEAD]
    by_group = {group: list(some) for group, some in groupby(setting_fields(), lambda f: f.group)}
    for group in sorted(by_group, key=_place):
        lines = list(_heading(group)) if group else []
        for field in by_group[group]:
            lines += _lines(field)
        parts.append("\n".join(lines))
    return "\n".join(parts)


def _place(group: str) -> int:
    """What must be set comes before what rarely is; keys of the top must come first in TOML."""
    return {"": 0, "upstreams": 1}.get(group, 2)


def _heading(group: str) -> Iterator[str]:
    yield f"# {_ABOUT[group]}"
    # A group may stand there empty; an upstream may not.
    yield f"#[[{group}]]" if group == "upstreams" else f"[{group}]"
    yield ""


def _lines(field: SettingField) -> Iterator[str]:
    name, default = field.name, field.info.default
    yield from textwrap.wrap(field.meaning, _WIDTH, initial_indent="# ", subsequent_indent="# ")
    if default is None:
        yield f"# Unset by default; to set it: {name} = {_toml(_EXAMPLES[name])}"
    else:
        yield f"#{name} = {_toml(_EXAMPLES[name] if field.info.is_required() else default)}"
    yield ""


def _toml(value: object) -> str:
    """Text, numbers, truth and lists of them are written in TOML as in JSON."""
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
