"""What a check found, in one line, and what to do about it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

_USER_IN_URL: Final = re.compile(r"(?<=://)[^/@\s]+@")
_BEARER: Final = re.compile(r"(?<=[Bb]earer )\S+")
_HIDDEN: Final = "***"


class Status(StrEnum):
    OK = "ok"
    WARN = "warn"
    """Worth knowing; nothing is broken."""
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    status: Status
    message: str
    advice: str | None = None
    """What to do; always there when something failed."""
    details: tuple[str, ...] = ()


def ok(name: str, message: str, *details: str) -> Finding:
    return Finding(name, Status.OK, message, details=details)


def warn(name: str, message: str, advice: str | None = None, *details: str) -> Finding:
    return Finding(name, Status.WARN, message, advice, details)


def fail(name: str, message: str, advice: str, *details: str) -> Finding:
    return Finding(name, Status.FAIL, message, advice, details)


class Scrubber:
    """Takes out what must not be pasted into an issue, and what would steer a terminal."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted(filter(None, secrets), key=len, reverse=True)

    def scrubbed(self, finding: Finding) -> Finding:
        return replace(
            finding,
            message=self._text(finding.message),
            advice=finding.advice and self._text(finding.advice),
            details=tuple(map(self._text, finding.details)),
        )

    def _text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        text = _BEARER.sub(_HIDDEN, _USER_IN_URL.sub(f"{_HIDDEN}@", text))
        return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
