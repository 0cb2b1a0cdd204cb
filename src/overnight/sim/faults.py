"""What a simulated engine does wrong on purpose, and how often."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus

from overnight.domain.errors import ConfigurationError

RESET, HANG, SLOW, GARBAGE, CUT = "reset", "hang", "slow", "garbage", "cut"

KINDS = {
    RESET: "the connection is reset instead of an answer",
    HANG: "nothing is answered until the client goes away",
    SLOW: "the answer comes byte by byte",
    GARBAGE: "200 with a body that is not JSON",
    CUT: "200 and half of the body, then the end of the connection",
}
"""Beside them any status from 400 to 599 is a kind, such as `503`."""

DEFAULT_RATE = 0.01

SLOW_BYTES_PER_SECOND = 100

GARBAGE_BODY = b"<html><body><h1>Bad gateway</h1></body></html>"

Faults = tuple[tuple[str, float], ...]
"""Kinds and the share of attempts each of them gets; together at most 1."""


def parse_faults(texts: Iterable[str]) -> Faults:
    """Of `KIND` or `KIND=RATE` each. Raises `ConfigurationError`."""
    faults: dict[str, float] = {}
    for text in texts:
        kind, given, rate = text.partition("=")
        try:
            faults[kind] = float(rate) if given else DEFAULT_RATE
        except ValueError:
            raise ConfigurationError(
                f"--fault takes KIND or KIND=RATE, such as 503=0.05, not {text!r}"
            ) from None
    return checked_faults(faults)


def checked_faults(rates: Mapping[str, float]) -> Faults:
    """Raises `ConfigurationError` for kinds and rates there can not be."""
    for kind, rate in rates.items():
        if not _is_kind(kind):
            known = ", ".join(KINDS)
            raise ConfigurationError(
                f"there is no fault {kind!r}: take {known}, or a status from 400 to 599"
            )
        if not 0 <= rate <= 1:
            raise ConfigurationError(f"the rate of fault {kind} is between 0 and 1, not {rate}")
    total = sum(rates.values())
    if total > 1:
        raise ConfigurationError(f"the rates of all faults add up to {total:g}, more than 1")
    return tuple((kind, rate) for kind, rate in rates.items() if rate)


def fault_at(faults: Faults, chance: float) -> str | None:
    """Which one a number from 0 (with) to 1 (without) hits."""
    for kind, rate in faults:
        if chance < rate:
            return kind
        chance -= rate
    return None


def status_of(fault: str) -> int | None:
    """If the fault is an answer with an error status."""
    return int(fault) if fault.isdigit() else None


def _is_kind(kind: str) -> bool:
    if kind in KINDS:
        return True
    return kind in {str(status.value) for status in HTTPStatus if status.value >= 400}
