"""What is wrong with settings, in sentences: which name, where it stands, what would be right."""

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from overnight.settings.fields import (
    field_at,
    is_secret,
    meaning_of,
    same_name_elsewhere,
    siblings,
    wanted,
)

_SHOWN_CHARS_MAX: Final = 60


class TomlFile(NamedTuple):
    """Its name as origins have it, and its text, to find the lines of what is wrong."""

    name: str
    text: str


def sentences(error: ValidationError, origins: Mapping[str, str], file: TomlFile) -> Iterator[str]:
    """One for each fault."""
    for fault in error.errors(include_url=False):
        name = ".".join(str(step) for step in fault["loc"])
        origin = _origin(name, origins)
        if fault["type"] == "extra_forbidden":
            yield unknown(name, siblings(fault["loc"]), origin, file)
        elif fault["type"] == "missing":
            yield f"Setting {name}{_where(name, origin, file)} is missing: {meaning_of(name)}"
        elif fault["type"] == "value_error":
            message = fault["msg"].removeprefix("Value error, ")
            yield f"Setting {name}{_where(name, origin, file)}: {message}."
        else:
            yield f"Setting {name}{_where(name, origin, file)} {_given(fault)}; {_needed(fault)}."


def unknown(name: str, known: set[str], origin: str | None, file: TomlFile) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    elsewhere = same_name_elsewhere(name)
    if elsewhere and elsewhere != name:
        advice = f"did you mean '{elsewhere}'?"
    elif near:
        advice = f"did you mean '{near[0]}'?"
    else:
        advice = f"there are: {', '.join(sorted(known))}."
    return f"There is no setting '{name}'{_where(name, origin, file)}; {advice}"


def _origin(name: str, origins: Mapping[str, str]) -> str | None:
    """Its own, that of what is in it, or that of what it is in."""
    place = name
    while place:
        for key in origins:
            if key == place or key.startswith(f"{place}."):
                return origins[key]
        place = place.rpartition(".")[0]
    return None


def _where(name: str, origin: str | None, file: TomlFile) -> str:
    if origin is None:
        return ""
    line = line_of(name, file.text) if origin == file.name else None
    return f" ({origin}, line {line})" if line else f" ({origin})"


def _given(fault: ErrorDetails) -> str:
    """What it is now, unless that could be a key."""
    value = fault["input"]
    info = field_at(fault["loc"])
    if isinstance(value, dict):
        return "is a table"
    if isinstance(value, list | tuple):
        return "is a list"
    if info is None or is_secret(info):
        return "is of a wrong kind"
    shown = json.dumps(value, default=str, ensure_ascii=False)
    return f"is {shown if len(shown) <= _SHOWN_CHARS_MAX else shown[:_SHOWN_CHARS_MAX] + '…'}"


def _needed(fault: ErrorDetails) -> str:
    info = field_at(fault["loc"])
    if info is None:
        return f"{fault['msg'][:1].lower()}{fault['msg'][1:]}"
    return f"it should be {wanted(info, member=isinstance(fault['loc'][-1], int))}"


def line_of(name: str, text: str) -> int | None:
    """Where a TOML file says something of a dotted name, or else of what it is in.

    The parser tells no places. But a key is there from the first line on with which the file's
    beginning parses and holds it, and its own begins after the last that parsed without it.
    """
    place = name.split(".")
    while place:
        if line := _first_line(place, text.splitlines(keepends=True)):
            return line
        place.pop()
    return None


def _first_line(place: list[str], lines: list[str]) -> int | None:
    parsed = 0
    for number in range(1, len(lines) + 1):
        try:
            beginning = tomllib.loads("".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            continue
        if _holds(beginning, place):
            return parsed + 1
        parsed = number
    return None


def _holds(value: object, place: list[str]) -> bool:
    for step in place:
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            return False
    return True
