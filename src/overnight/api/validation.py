"""What pydantic found wrong in a body or a query, as a refusal that names the field, what was
given and what would be right.

Wording and codes are those of the OpenAI API, as its users and their programs know them.
"""

from collections.abc import Mapping, Sequence, Sized
from typing import Any, Final

from overnight.domain.errors import InvalidRequest

_GIVEN_MAX: Final = 80

_EXPECTED: Final[Mapping[str, str]] = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_parsing_size": "an integer of fewer digits",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "list_type": "an array",
    "url_type": "a URL in a string",
}


_LIMITS: Final[Mapping[str, str]] = {
    "greater_than_equal": "a value of at least {ge:,}",
    "less_than_equal": "a value of at most {le:,}",
    "string_too_short": "at least {min_length:,} characters",
    "string_too_long": "at most {max_length:,} characters",
    "too_short": "at least {min_length:,} items",
    "too_long": "at most {max_length:,} items",
}
"""Formats for the context of the error."""


def refusal(error: Mapping[str, Any], location: Sequence[str | int]) -> InvalidRequest:
    """For one of pydantic's error details; `location` is the path of the field in what was sent."""
    param = _path(location) or None
    named = f"'{param}'" if param else "the body"
    kind, given = error["type"], error.get("input")
    if kind == "missing":
        return InvalidRequest(
            f"Missing required parameter: {named}.",
            param=param,
            code="missing_required_parameter",
        )
    if kind == "json_invalid":
        return InvalidRequest(
            f"The body is not valid JSON: {error['ctx']['error']}.", code="invalid_json"
        )
    if kind in _EXPECTED:
        message = f"expected {_EXPECTED[kind]}, but got {_told(given)} instead."
        return InvalidRequest(
            f"Invalid type for {named}: {message}", param=param, code="invalid_type"
        )
    if kind in ("literal_error", "enum"):
        message = f"expected {error['ctx']['expected']}, but got {_told(given)} instead."
        return InvalidRequest(f"Invalid value for {named}: {message}", param=param)
    if kind in _LIMITS:
        wanted, found = _LIMITS[kind].format(**error["ctx"]), _measured(kind, given)
        return InvalidRequest(
            f"Invalid {named}: expected {wanted}, but got {found} instead.", param=param
        )
    return InvalidRequest(f"Invalid {named}: {error['msg']}, but got {_told(given)}.", param=param)


def _path(location: Sequence[str | int]) -> str:
    """Such as `parts[0].etag`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).removeprefix(".")


def _told(given: object) -> str:
    """Scalars as they are, of what may be large the kind alone."""
    if isinstance(given, bool):
        return str(given).lower()
    match given:
        case None:
            return "null"
        case int() | float():
            return f"the number {given}"[:_GIVEN_MAX]
        case str():
            return f"'{given[:_GIVEN_MAX]}'" if given else "an empty string"
        case list():
            return "an array"
        case dict():
            return "an object"
        case _:
            return "something else"


def _measured(kind: str, given: object) -> str:
    if kind.startswith(("string", "too")) and isinstance(given, Sized):
        return f"{len(given):,}"
    return str(given)[:_GIVEN_MAX]
