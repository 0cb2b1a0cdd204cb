"""The server that client commands talk to: its flags, and what its failures mean to a command."""

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from overnight.cli.messages import ExitCode, fail
from overnight.client.errors import BadReply, ClientError, Refused, Unreachable

if TYPE_CHECKING:
    from overnight.client.client import Client

DEFAULT_BASE_URL: Final = "http://127.0.0.1:8024/v1"
BASE_URL_VARIABLE: Final = "OVERNIGHT_BASE_URL"
API_KEY_VARIABLE: Final = "OVERNIGHT_API_KEY"
"""As `serve` reads it: one shell can start the service and use it."""

_OF_THE_SERVER: Final = frozenset({408, 425, 429})
"""Refusals that are no fault of the command: the same one may succeed later."""

_USER: Final = re.compile(r"//[^/@]*@")


class Dialect(StrEnum):
    AUTO = "auto"
    OPENAI = "openai"
    TOGETHER = "together"


BaseUrlOption = Annotated[
    str,
    typer.Option(
        envvar=BASE_URL_VARIABLE,
        show_envvar=False,
        metavar="URL",
        help=f"Base URL of the server; also {BASE_URL_VARIABLE}.",
    ),
]
ApiKeyOption = Annotated[
    str | None,
    typer.Option(
        envvar=API_KEY_VARIABLE,
        show_envvar=False,
        metavar="KEY",
        help=f"Key for the server; also {API_KEY_VARIABLE}.",
    ),
]
DialectOption = Annotated[
    Dialect,
    typer.Option(
        metavar="NAME", help="How the server spells its API: openai, together, or by its host."
    ),
]


@dataclass(frozen=True, slots=True)
class Connection:
    """What the flags said."""

    base_url: str
    api_key: str | None
    dialect: Dialect

    @contextmanager
    def open(self) -> "Iterator[Client]":
        """A client whose errors end the command: a line, a hint and the exit code."""
        from overnight.client.client import Client, Server

        server = Server(self.base_url, self.api_key or None, self.dialect.value)
        try:
            with Client(server) as client:
                yield client
        except ClientError as error:
            fail(exit_code(error), error.message, *([error.hint] if error.hint else []))

    def command(self, *words: str) -> str:
        """A command line for the same server, to be pasted. Nothing secret is part of it."""
        return shlex.join(["overnight", *words, *self._flags()])

    def _flags(self) -> Sequence[str]:
        """What the environment does not say anyway."""
        flags: list[str] = []
        if self.base_url != os.environ.get(BASE_URL_VARIABLE, DEFAULT_BASE_URL):
            flags += ["--base-url", _USER.sub("//", self.base_url)]
        if self.dialect is not Dialect.AUTO:
            flags += ["--dialect", self.dialect.value]
        return flags


def exit_code(error: ClientError) -> ExitCode:
    """What the server would refuse again is wrong usage: a key, an id, a file too large."""
    match error:
        case Refused(status=status):
            passing = status in _OF_THE_SERVER or not 400 <= status < 500
            return ExitCode.OUR_FAILURE if passing else ExitCode.USAGE
        case Unreachable() | BadReply():
            return ExitCode.OUR_FAILURE
        case _:
            return ExitCode.USAGE
