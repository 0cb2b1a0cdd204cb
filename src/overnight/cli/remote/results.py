"""A job's result files: where they go, and fetching them there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Annotated

import typer

from overnight.cli.places import beside, check_free
from overnight.cli.remote.transfer import Transfer
from overnight.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from overnight.client.client import Client
    from overnight.client.views import JobView

OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="OUT.jsonl", help="Watch, then put the results here."),
]
ErrorsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="ERR.jsonl",
        help="File for requests that failed, made only if some do [default: OUT.errors.jsonl]",
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace the files if they exist.")
]


@dataclass(frozen=True, slots=True)
class Results:
    """The files that were made; None where the job has none of the kind."""

    output: Path | None = None
    errors: Path | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    output: Path
    errors: Path
    overwrite: bool

    def flags(self) -> list[str]:
        """What would name the same files again."""
        flags = ["--output", str(self.output)]
        if self.errors != beside(self.output):
            flags += ["--errors", str(self.errors)]
        return [*flags, "--overwrite"] if self.overwrite else flags

    def check(self) -> None:
        """Raises `ConfigurationError` if the files can not be put there."""
        if self.output == self.errors:
            raise ConfigurationError("Results and errors must be two different files.")
        for path in (self.output, self.errors):
            check_free(path, overwrite=self.overwrite)

    def fetch(self, client: "Client", job: "JobView") -> Results:
        """Download what the job has. The output comes last: where it is, all is.

        A file of an earlier job that has no successor goes, lest it be taken for this job's; but
        a job that has no results at all takes nobody's place.
        """
        with self._errors_of(client, job) as errors:
            if job.output_file_id is None:
                if self.overwrite and errors is not None:
                    self.output.unlink(missing_ok=True)
                return Results(None, errors)
            fetch(client, job.output_file_id, self.output)
            return Results(self.output, errors)

    @contextmanager
    def _errors_of(self, client: "Client", job: "JobView") -> Iterator[Path | None]:
        """Taken away again when what is done with it fails, lest it be in the way next time."""
        if job.error_file_id is None:
            if self.overwrite and job.output_file_id is not None:
                self.errors.unlink(missing_ok=True)
            yield None
            return
        fetch(client, job.error_file_id, self.errors)
        try:
            yield self.errors
        except BaseException:
            self.errors.unlink(missing_ok=True)
            raise


def destination(output: Path, errors: Path | None, *, overwrite: bool) -> Destination:
    """Checked; raises `ConfigurationError` if the files can not be put there."""
    wanted = Destination(output, errors or beside(output), overwrite)
    wanted.check()
    return wanted


def wanted_destination(
    output: Path | None, errors: Path | None, *, overwrite: bool
) -> Destination | None:
    """Of a command that may or may not download. Raises `ConfigurationError`."""
    if output is not None:
        return destination(output, errors, overwrite=overwrite)
    if errors is not None:
        raise ConfigurationError("--errors goes with --output, which says where the results go.")
    return None


def default_output(client: "Client", job: "JobView") -> Path:
    """In the current folder, named after the input: `prompts.jsonl` → `prompts.results.jsonl`."""
    name = local_name(input_name(client, job) or job.id, job.id)
    return Path(f"{Path(name).stem}.results.jsonl")


def input_name(client: "Client", job: "JobView") -> str | None:
    """None when the file is gone."""
    from overnight.client.errors import Refused

    if job.input_file_id is None:
        return None
    try:
        return client.file(job.input_file_id).name
    except Refused:
        return None


def local_name(name: str, otherwise: str) -> str:
    """A server's file name without anything that would lead out of the current folder."""
    last = PurePosixPath(PureWindowsPath(name).name).name
    # Nobody asked for a hidden file, such as one that a shell reads at its next start.
    harmless = last.isprintable() and not last.startswith(("-", "."))
    return last if last.strip() and harmless else otherwise


def fetch(client: "Client", file_id: str, to: Path) -> int:
    """Download one file; returns its bytes."""
    with Transfer(f"downloading {to.name}") as transfer:
        return client.download(file_id, to, on_bytes=transfer.moved)
