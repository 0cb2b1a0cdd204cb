"""Flags that several commands have, worded once."""

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="TOML file with settings [default: overnight.toml, if any]"
    ),
]
UpstreamOption = Annotated[
    list[str] | None,
    typer.Option(
        "--upstream",
        metavar="URL",
        help="OpenAI-compatible base URL, such as http://127.0.0.1:8000/v1, or"
        " unix:/run/vllm.sock; may be repeated.",
    ),
]
UpstreamKeyOption = Annotated[
    str | None,
    typer.Option("--upstream-api-key", metavar="KEY", help="Key to send to the upstreams."),
]
MaxInFlightOption = Annotated[
    int | None,
    typer.Option(
        "--max-in-flight", metavar="N", help="Unanswered requests per upstream [default: 128]"
    ),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", metavar="DIR", help="Folder for all data [default: ./overnight-data]"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
