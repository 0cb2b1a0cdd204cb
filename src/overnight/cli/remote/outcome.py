"""What came of a job, in words, in JSON and as an exit code."""

import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NoReturn

import typer

from overnight.cli.messages import ExitCode, fail, say_error
from overnight.cli.remote.connection import Connection
from overnight.cli.remote.results import Destination, Results
from overnight.client.views import FileView, JobView

if TYPE_CHECKING:
    from overnight.client.client import Client


@dataclass(frozen=True, slots=True)
class Teller:
    """Tells of jobs on a server, to people or to programs."""

    connection: Connection
    as_json: bool
    source: str | None = None
    """The input file as the user named it, if this command has it."""

    def follow(self, client: "Client", job: JobView, wanted: Destination | None) -> NoReturn:
        """Watch the job to its end, fetch what is wanted of it, tell, and exit by the outcome.

        Ctrl-C leaves the job alone and says how to go on.
        """
        from overnight.cli.remote.watching import watched

        try:
            job = watched(client, job)
        except KeyboardInterrupt:
            flags = () if wanted is None else wanted.flags()
            again = self.connection.command("jobs", "watch", job.id, *flags)
            words = "interrupted; the job goes on without this command"
            fail(ExitCode.INTERRUPTED, words, f"watch again with: {again}")
        if wanted is None:
            self.tell(job, None)
        self.deliver(client, job, wanted)

    def deliver(self, client: "Client", job: JobView, wanted: Destination) -> NoReturn:
        """Fetch the results of a job that has ended, tell, and exit by its outcome."""
        try:
            results = wanted.fetch(client, job)
        except KeyboardInterrupt:
            again = self.connection.command("jobs", "download", job.id, *wanted.flags())
            words = "interrupted while downloading; what has arrived is kept"
            fail(ExitCode.INTERRUPTED, words, f"go on with: {again}")
        self.tell(job, results)

    def tell(self, job: JobView, results: Results | None) -> NoReturn:
        """The last words about a job that has ended, and the exit code that says the same."""
        if self.as_json:
            data = job_data(job) | ({} if results is None else results_data(results))
            print(json.dumps(data))
        else:
            self._tell_people(job, results)
        raise typer.Exit(outcome_code(job))

    def _tell_people(self, job: JobView, results: Results | None) -> None:
        from overnight.cli.tables import painted

        if job.faults:
            print(f"{painted(job.status)}: the input was refused, nothing was sent")
            show_failure(job, self.source)
            return
        print(f"{painted(job.status)}: {counts(job)}" if job.total else painted(job.status))
        if (tokens := tokens_in_words(job)) is not None:
            print(f"  tokens   {tokens}")
        if results is not None:
            print(f"  results  {results.output or 'none, as no request succeeded'}")
            if results.errors is not None:
                print(f"  errors   {results.errors}")
        show_failure(job, self.source)
        if results is None and (job.output_file_id or job.error_file_id):
            fetching = self.connection.command("jobs", "download", job.id)
            print(f"hint: get results with: {fetching}", file=sys.stderr)


def tokens_in_words(job: JobView) -> str | None:
    """None when nobody counted any."""
    if not (job.prompt_tokens or job.completion_tokens):
        return None
    return f"{job.prompt_tokens or 0:,} prompt, {job.completion_tokens or 0:,} completion"


def show_failure(job: JobView, source: str | None) -> None:
    """Why it failed, if it did: the faults of its input as `overnight validate` shows them."""
    if job.faults:
        from overnight.cli.faults import show_faults

        print()
        show_faults(job.faults, total=job.fault_count, source=source)
    if job.failure is not None:
        say_error(job.failure)


def counts(job: JobView) -> str:
    """Such as `10,000 requests, 9,997 succeeded, 3 failed, 12 retries`."""
    parts = [f"{job.total or 0:,} requests" if job.total != 1 else "1 request"]
    parts += [f"{job.succeeded or 0:,} succeeded", f"{job.failed or 0:,} failed"]
    if job.retries:
        parts.append(f"{job.retries:,} retries")
    return ", ".join(parts)


def outcome_code(job: JobView) -> ExitCode:
    """Of a job that has ended; one that was refused for its input is like an input refused here."""
    match job.status:
        case "completed":
            return ExitCode.SOME_FAILED if job.failed or job.error_file_id else ExitCode.OK
        case "failed":
            return ExitCode.INPUT_REFUSED if job.faults else ExitCode.OUR_FAILURE
        case _:
            return ExitCode.NOT_FINISHED


def job_data(job: JobView) -> dict[str, object]:
    """Its fields by their names; the reference has a table of them."""
    return asdict(job)


def file_data(file: FileView) -> dict[str, object]:
    return asdict(file)


def results_data(results: Results) -> dict[str, object]:
    """Beside a job's own fields."""
    return {
        "output": None if results.output is None else str(results.output),
        "errors": None if results.errors is None else str(results.errors),
    }
