"""`overnight files …`: the files of a server."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from overnight.cli.messages import ExitCode, fail
from overnight.cli.options import JsonOption
from overnight.cli.places import check_free
from overnight.cli.remote.connection import (
    DEFAULT_BASE_URL,
    ApiKeyOption,
    BaseUrlOption,
    Connection,
    Dialect,
    DialectOption,
)
from overnight.cli.remote.results import OverwriteOption, fetch, local_name

if TYPE_CHECKING:
    from overnight.cli.tables import Cell
    from overnight.client.views import FileView

LIMIT: Final = 20

FileArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the file.")]


def list_files(
    *,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Most files to list.")] = LIMIT,
    base_url: BaseUrlOption = DEFAULT_BASE_URL,
    api_key: ApiKeyOption = None,
    dialect: DialectOption = Dialect.AUTO,
    as_json: JsonOption = False,
) -> None:
    """List files, inputs and results, the newest first.

    \b
    Example:
      overnight files list --limit 100
    """
    from overnight.cli.remote.outcome import file_data

    with Connection(base_url, api_key, dialect).open() as client:
        files = list(client.files(limit=limit))
    if as_json:
        print(json.dumps({"files": [file_data(file) for file in files]}))
    else:
        _print_files(files)


def show(
    file_id: FileArgument,
    *,
    base_url: BaseUrlOption = DEFAULT_BASE_URL,
    api_key: ApiKeyOption = None,
    dialect: DialectOption = Dialect.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Show what the server says about a file.

    \b
    Example:
      overnight files show file-0123456789abcdef01234567
    """
    from overnight.cli.remote.outcome import file_data

    with Connection(base_url, api_key, dialect).open() as client:
        file = client.file(file_id)
    if as_json:
        print(json.dumps(file_data(file)))
    else:
        _print_file(file)


def upload(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to upload.")],
    *,
    base_url: BaseUrlOption = DEFAULT_BASE_URL,
    api_key: ApiKeyOption = None,
    dialect: DialectOption = Dialect.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Upload a file as the input of jobs, and print its id.

    \b
    Example:
      overnight files upload prompts.jsonl
    """
    from overnight.cli.remote.outcome import file_data
    from overnight.cli.remote.transfer import Transfer
    from overnight.cli.validate import readable_file

    path = readable_file(file)
    with Connection(base_url, api_key, dialect).open() as client:
        try:
            with Transfer(f"uploading {path.name}", path.stat().st_size) as transfer:
                uploaded = client.upload(path, on_bytes=transfer.moved)
        except KeyboardInterrupt:
            fail(ExitCode.INTERRUPTED, "interrupted while uploading; there is no such file now")
    print(json.dumps(file_data(uploaded)) if as_json else uploaded.id)


def download(  # noqa: PLR0913  a flag each
    file_id: FileArgument,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where it goes [default: the file's own name, in this folder]",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    base_url: BaseUrlOption = DEFAULT_BASE_URL,
    api_key: ApiKeyOption = None,
    dialect: DialectOption = Dialect.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Download a file. One that was cut goes on where it stopped, and appears only when whole.

    \b
    Example:
      overnight files download file-0123456789abcdef01234567 -o answers.jsonl
    """
    connection = Connection(base_url, api_key, dialect)
    with connection.open() as client:
        path = output or Path(local_name(client.file(file_id).name, file_id))
        check_free(path, overwrite=overwrite)
        try:
            size = fetch(client, file_id, path)
        except KeyboardInterrupt:
            words = ["files", "download", file_id, "--output", str(path)]
            words += ["--overwrite"] if overwrite else []
            hint = f"go on with: {connection.command(*words)}"
            fail(ExitCode.INTERRUPTED, "interrupted; what has arrived is kept", hint)
    print(json.dumps({"id": file_id, "path": str(path), "bytes": size}) if as_json else path)


def delete(
    file_id: FileArgument,
    *,
    base_url: BaseUrlOption = DEFAULT_BASE_URL,
    api_key: ApiKeyOption = None,
    dialect: DialectOption = Dialect.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Delete a file from the server. One that a job still needs is not deleted.

    \b
    Example:
      overnight files delete file-0123456789abcdef01234567
    """
    with Connection(base_url, api_key, dialect).open() as client:
        client.delete_file(file_id)
    print(json.dumps({"id": file_id, "deleted": True}) if as_json else f"{file_id}  deleted")


def _print_files(files: "Sequence[FileView]") -> None:
    from overnight.cli.tables import Column, print_table

    columns = [
        Column("id"),
        Column("name", shortened=True),
        Column("size", right=True),
        Column("age"),
        Column("purpose"),
    ]
    print_table(columns, map(_row, files), when_empty="No files yet.")


def _row(file: "FileView") -> "list[Cell]":
    from overnight.cli.progress import in_bytes
    from overnight.cli.tables import Cell

    size = Cell("-", "") if file.bytes is None else Cell(in_bytes(file.bytes), str(file.bytes))
    return [
        Cell.text(file.id),
        Cell.text(file.name),
        size,
        Cell.age(file.created_at),
        Cell.text(file.purpose),
    ]


def _print_file(file: "FileView") -> None:
    from overnight.cli.progress import in_bytes
    from overnight.cli.tables import moment, print_details

    size = None if file.bytes is None else f"{in_bytes(file.bytes)} ({file.bytes:,} bytes)"
    print_details(
        file.id,
        None,
        [
            ("name", file.name),
            ("size", size),
            ("lines", None if file.lines is None else f"{file.lines:,}"),
            ("purpose", file.purpose),
            ("created", moment(file.created_at)),
            ("expires", moment(file.expires_at)),
        ],
    )
