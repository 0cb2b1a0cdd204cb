"""`overnight jobs …`: the jobs of a server."""

import json
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

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
    default_output,
    destination,
    input_name,
    wanted_destination,
)
from overnight.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from overnight.cli.tables import Cell
    from overnight.client.client import Client
    from overnight.client.views import JobView

LIMIT: Final = 20

JobArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the job.")]
NewestJobArgument = Annotated[
    str | None, typer.Argument(metavar="ID", help="Id of the job [default: the newest job's]")
]


class Status(StrEnum):
    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


def list_jobs(
    *,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Most jobs to list.")] = LIMIT,
    status: Annotated[
        Status | None, typer.Option(metavar="STATUS", help="Only jobs that are in this status.")
    ] = None,
    base_url: BaseUrlOption = DEFAULT_BASE_URL,
    api_key: ApiKeyOption = None,
    dialect: DialectOption = Dialect.AUTO,
    as_json: JsonOption = False,
) -> None:
    """List jobs, the newest first.

    \b
    Example:
      overnight jobs list --status in_progress
    """
    from overnight.cli.remote.outcome import job_data

    with Connection(base_url, api_key, dialect).open() as client:
        jobs = list(_newest(client, limit, status))
    if as_json:
        print(json.dumps({"jobs": [job_data(job) for job in jobs]}))
    else:
        _print_jobs(jobs, f"No job is {status.value}." if status else "No jobs yet.")


def show(
    job_id: NewestJobArgument = None,
    *,
    base_url: BaseUrlOption = DEFAULT_BASE_URL,
    api_key: ApiKeyOption = None,
    dialect: DialectOption = Dialect.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Show a job, and the faults of its input if it failed for them.

    \b
    Example:
      overnight jobs show batch_0123456789abcdef01234567
    """
    from overnight.cli.remote.outcome import job_data, show_failure

    with Connection(base_url, api_key, dialect).open() as client:
        job = _found(client, job_id)
        if as_json:
            print(json.dumps(job_data(job)))
            return
        _print_job(job)
        show_failure(job, input_name(client, job) if job.faults else None)


def watch(  # noqa: PLR0913  a flag each
    job_id: NewestJobArgument = None,
    *,
    output: OutputOption = None,
    errors: ErrorsOption = None,
    overwrite: OverwriteOption = False,
    base_url: BaseUrlOption = DEFAULT_BASE_URL,
    api_key: ApiKeyOption = None,
    dialect: DialectOption = Dialect.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Watch a job until it has ended; the exit code says how.

    Ctrl-C leaves the job running. A server that is away for some minutes is waited for.

    \b
    Example:
      overnight jobs watch --output answers.jsonl
    """
    from overnight.cli.remote.outcome import Teller

    wanted = wanted_destination(output, errors, overwrite=overwrite)
    connection = Connection(base_url, api_key, dialect)
    with connection.open() as client:
        job = _found(client, job_id)
        Teller(connection, as_json).follow(client, job, wanted)


def cancel(
    job_id: JobArgument,
    *,
    base_url: BaseUrlOption = DEFAULT_BASE_URL,
    api_key: ApiKeyOption = None,
    dialect: DialectOption = Dialect.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Cancel a job. What is finished by then is kept, and can be downloaded.

    \b
    Example:
      overnight jobs cancel batch_0123456789abcdef01234567
    """
    from overnight.cli.remote.outcome import job_data

    connection = Connection(base_url, api_key, dialect)
    with connection.open() as client:
        job = client.cancel(job_id)
    if as_json:
        print(json.dumps(job_data(job)))
        return
    print(f"{job.id}  {job.status}")
    if not job.ended:
        watching = connection.command("jobs", "watch", job.id)
        print(f"hint: see it end with: {watching}", file=sys.stderr)


def download(  # noqa: PLR0913  a flag each
    job_id: NewestJobArgument = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT.jsonl",
            help="File for the results [default: named after the input, in this folder]",
        ),
    ] = None,
    errors: ErrorsOption = None,
    overwrite: OverwriteOption = False,
    base_url: BaseUrlOption = DEFAULT_BASE_URL,
    api_key: ApiKeyOption = None,
    dialect: DialectOption = Dialect.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Download the results of a job that has ended.

    A download that was cut goes on where it stopped. Of a job that was cancelled or has expired
    it fetches what was finished. Exits with the code that `jobs watch` would, and with 5 while
    the job is not done.

    \b
    Example:
      overnight jobs download batch_0123456789abcdef01234567 -o answers.jsonl
    """
    from overnight.cli.remote.outcome import Teller

    if output is not None:
        destination(output, errors, overwrite=overwrite)  # Before anything is asked.
    connection = Connection(base_url, api_key, dialect)
    with connection.open() as client:
        job = _found(client, job_id)
        if not job.ended:
            _not_yet(job, connection)
        chosen = output or default_output(client, job)
        wanted = destination(chosen, errors, overwrite=overwrite)
        Teller(connection, as_json).deliver(client, job, wanted)


def _not_yet(job: "JobView", connection: Connection) -> NoReturn:
    waiting = connection.command("jobs", "watch", job.id, "--output", "OUT.jsonl")
    done = f", {progress(job)} done" if job.total else ""
    fail(
        ExitCode.NOT_FINISHED,
        f"{job.id} has no results yet: it is {job.status}{done}",
        f"wait for them with: {waiting}",
    )


def _found(client: "Client", job_id: str | None) -> "JobView":
    """The job, or the newest one. Raises `ConfigurationError` if there is none at all."""
    if job_id is not None:
        return client.job(job_id)
    for job in client.jobs(limit=1):
        print(f"the newest job: {job.id}", file=sys.stderr)
        return client.job(job.id)
    refusal = ConfigurationError("There is no job on the server.")
    refusal.add_note("Make one with: overnight submit FILE")
    raise refusal


def _newest(client: "Client", limit: int, status: Status | None) -> "Iterator[JobView]":
    if status is None:
        return client.jobs(limit=limit)
    return islice((job for job in client.jobs() if job.status == status.value), limit)


def progress(job: "JobView") -> str:
    """Such as `12% of 10,000`, or `-` while nobody knows."""
    if not job.total:
        return "-"
    return f"{percent(job)}% of {job.total:,}"


def percent(job: "JobView") -> int:
    """Rounded down: 100 % is said of nothing but the whole."""
    return 100 * ((job.succeeded or 0) + (job.failed or 0)) // (job.total or 1)


def _print_jobs(jobs: "Sequence[JobView]", when_empty: str) -> None:
    from overnight.cli.tables import Column, print_table

    columns = [
        Column("id"),
        Column("status"),
        Column("progress"),
        Column("failed", right=True),
        Column("age"),
        Column("model", shortened=True),
    ]
    print_table(columns, map(_row, jobs), when_empty=when_empty)


def _row(job: "JobView") -> "list[Cell]":
    from overnight.cli.tables import Cell

    done = (job.succeeded or 0) + (job.failed or 0)
    return [
        Cell.text(job.id),
        Cell.status(job.status),
        Cell(progress(job), f"{done}/{job.total}" if job.total else ""),
        Cell(f"{job.failed:,}" if job.failed else "-", str(job.failed or 0)),
        Cell.age(job.created_at),
        Cell.text(job.model),
    ]


def _print_job(job: "JobView") -> None:
    from overnight.cli.remote.outcome import counts, tokens_in_words
    from overnight.cli.tables import moment, print_details

    print_details(
        job.id,
        job.status,
        [
            ("endpoint", job.endpoint),
            ("model", job.model),
            ("progress", f"{percent(job)}% of {counts(job)}" if job.total else None),
            ("tokens", tokens_in_words(job)),
            ("waiting", (job.waiting_for or "").removeprefix("waiting: ")),
            ("created", moment(job.created_at)),
            ("expires", None if job.ended else moment(job.deadline)),
            ("ended", moment(job.ended_at)),
            ("input", job.input_file_id),
            ("output", job.output_file_id),
            ("errors", job.error_file_id),
            *job.metadata.items(),
        ],
    )
