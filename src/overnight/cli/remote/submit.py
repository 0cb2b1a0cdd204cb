"""`overnight submit`: from a file to a job on a server, and if wanted to its results."""

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from overnight.cli.messages import ExitCode, fail
from overnight.cli.options import JsonOption
from overnight.cli.remote.connection import (
    DEFAULT_BASE_URL,
    ApiKeyOption,
    BaseUrlOption,
    Connection,
    Dialect,
    DialectOption,
)
from overnight.cli.remote.results import (
    ErrorsOption,
    OutputOption,
    OverwriteOption,
    wanted_destination,
)
from overnight.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from overnight.client.client import Client
    from overnight.client.views import JobView


def submit(  # noqa: PLR0913  a flag each
    input: Annotated[Path, typer.Argument(metavar="INPUT.jsonl", help="File of requests.")],
    *,
    endpoint: Annotated[
        str, typer.Option(metavar="PATH", help="Endpoint that all requests go to.")
    ] = "/v1/chat/completions",
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay until the job has ended; --output means it too.")
    ] = False,
    output: OutputOption = None,
    errors: ErrorsOption = None,
    overwrite: OverwriteOption = False,
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A note to keep with the job; may be repeated."),
    ] = None,
    window: Annotated[
        str, typer.Option(metavar="TIME", help="Time after which the job expires, such as 24h.")
    ] = "24h",
    base_url: BaseUrlOption = DEFAULT_BASE_URL,
    api_key: ApiKeyOption = None,
    dialect: DialectOption = Dialect.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Upload a file of requests to a server and create a job of it.

    Prints the job's id. With --watch or --output it stays until the job has ended, and the exit
    code says how. Ctrl-C leaves the job running.

    \b
    Examples:
      overnight submit prompts.jsonl
      overnight submit prompts.jsonl --output answers.jsonl
    """
    from overnight.cli.remote.outcome import Teller, job_data
    from overnight.cli.validate import readable_file

    wanted = wanted_destination(output, errors, overwrite=overwrite)
    order = Order(readable_file(input), endpoint, window, as_metadata(metadata or ()))
    connection = Connection(base_url, api_key, dialect)
    with connection.open() as client:
        job = order.place(client, connection)
        if not as_json:
            print(job.id, flush=True)
        if watch or wanted is not None:
            Teller(connection, as_json, str(input)).follow(client, job, wanted)
    if as_json:
        print(json.dumps(job_data(job)))
        return
    for intent, verb in (("watch it", "watch"), ("get the results", "download")):
        print(f"  {intent:15}  {connection.command('jobs', verb, job.id)}", file=sys.stderr)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done with the file."""

    input: Path
    endpoint: str
    window: str
    metadata: Mapping[str, str]

    def place(self, client: "Client", connection: Connection) -> "JobView":
        """Upload, then create. Ctrl-C ends the command, saying what there is by then."""
        from overnight.cli.remote.transfer import Transfer

        uploaded = None
        try:
            label = f"uploading {self.input.name}"
            with Transfer(label, self.input.stat().st_size) as transfer:
                uploaded = client.upload(self.input, on_bytes=transfer.moved)
            return self._create(client, uploaded.id)
        except KeyboardInterrupt:
            if uploaded is None:
                fail(ExitCode.INTERRUPTED, "interrupted while uploading; nothing was created")
            fail(
                ExitCode.INTERRUPTED,
                f"interrupted while a job of {uploaded.id} was being created; there may be one",
                f"look with: {connection.command('jobs', 'list')}",
            )

    def _create(self, client: "Client", file_id: str) -> "JobView":
        """A job that is refused leaves no file behind that nobody asked for."""
        from overnight.client.errors import ClientError, Refused

        try:
            return client.create_job(
                file_id, self.endpoint, window=self.window, metadata=self.metadata
            )
        except Refused:
            with suppress(ClientError):
                client.delete_file(file_id)
            raise


def as_metadata(pairs: "list[str] | tuple[str, ...]") -> dict[str, str]:
    """From `KEY=VALUE` each. Raises `ConfigurationError`."""
    metadata: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise ConfigurationError(
                f"--metadata takes KEY=VALUE, such as team=search, not '{pair}'"
            )
        metadata[key] = value
    return metadata
