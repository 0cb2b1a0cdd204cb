"""Reading JSON that others made: a field that is missing or of another type is None."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final


class Fields:
    """An object of a reply. Methods that take several names return the first that fits."""

    def __init__(self, value: object) -> None:
        self._values: Mapping[str, object] = value if isinstance(value, dict) else {}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, *names: str) -> str | None:
        return next((v for v in self._present(names) if isinstance(v, str) and v), None)

    def number(self, *names: str) -> float | None:
        return next((n for v in self._present(names) if (n := _number(v)) is not None), None)

    def integer(self, *names: str) -> int | None:
        value = self.number(*names)
        return None if value is None else int(value)

    def word(self, *names: str) -> str | None:
        """A text that may be shown as it is, such as an id: nothing in it steers a terminal."""
        return next((v for v in self._present(names) if isinstance(v, str) and _is_word(v)), None)

    def flag(self, name: str, default: bool) -> bool:
        value = self._values.get(name)
        return value if isinstance(value, bool) else default

    def time(self, *names: str) -> float | None:
        """Unix seconds, from those or from an ISO 8601 string; without a zone it is UTC."""
        return next((t for v in self._present(names) if (t := _time(v)) is not None), None)

    def inner(self, name: str) -> "Fields":
        return Fields(self._values.get(name))

    def items(self, name: str) -> list["Fields"]:
        return [Fields(item) for item in _list(self._values.get(name))]

    def strings(self, name: str) -> list[str]:
        """An array, without what is no string in it."""
        return [item for item in _list(self._values.get(name)) if isinstance(item, str)]

    def texts(self, name: str) -> dict[str, str]:
        """An object of strings, such as metadata."""
        value = self._values.get(name)
        pairs = value.items() if isinstance(value, dict) else ()
        return {key: text for key, text in pairs if isinstance(text, str)}

    def span(self, name: str) -> tuple[int, int] | None:
        """A pair of positions, the first not after the second."""
        match self._values.get(name):
            case [int(start), int(end)] if 0 <= start <= end:
                return start, end
        return None

    def _present(self, names: tuple[str, ...]) -> Iterator[object]:
        return (self._values[name] for name in names if name in self._values)


def _is_word(text: str) -> bool:
    return bool(text) and text.isprintable()


def listed(reply: object) -> list[Fields]:
    """The items of a list, whether it is bare or in the `data` of an object."""
    return [Fields(item) for item in _list(reply)] or Fields(reply).items("data")


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


_MOST: Final = 1e15
"""More than any count of ours; NaN and infinity are JSON to Python's parser, too."""


_FIRST_TIME: Final = -62_135_596_800
_LAST_TIME: Final = 253_402_300_799
"""The last second of the year 9999: what can be written as a date. Milliseconds are far beyond."""


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -_MOST < value < _MOST else None


def _time(value: object) -> float | None:
    seconds = _iso_time(value) if isinstance(value, str) else _number(value)
    return seconds if seconds is not None and _FIRST_TIME <= seconds <= _LAST_TIME else None


def _iso_time(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
