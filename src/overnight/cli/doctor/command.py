"""The command: which checks there are, and in which order."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from overnight.cli.messages import ExitCode
from overnight.cli.options import (
    ConfigOption,
    DataDirOption,
    JsonOption,
    UpstreamKeyOption,
    UpstreamOption,
)

if TYPE_CHECKING:
    from overnight.settings import Settings


def doctor(  # noqa: PLR0913  one per flag
    *,
    data_dir: DataDirOption = None,
    upstream: UpstreamOption = None,
    upstream_api_key: UpstreamKeyOption = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out what reads the whole folder.")
    ] = False,
    no_request: Annotated[
        bool, typer.Option("--no-request", help="Send no test request to the upstreams.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.1, help="How long to wait for an upstream's answer."),
    ] = 30.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check everything: what to look at before asking for help.

    Program, data folder, database, stored bytes, upstreams, limits and the newest errors. It
    changes nothing, may run beside the service, and shows no keys, so that what it prints can be
    pasted into an issue. Ends with 0 if nothing failed, be there warnings, and with 1 otherwise.

    \b
    Examples:
      overnight doctor
      overnight doctor --data-dir /srv/data --upstream http://127.0.0.1:8000/v1
    """
    from overnight.cli.doctor.examination import examine
    from overnight.cli.doctor.finding import Scrubber
    from overnight.cli.doctor.report import Report
    from overnight.cli.doctor.upstreams import Wish
    from overnight.settings import load

    flags = {"data_dir": data_dir, "upstream": upstream, "upstream_api_key": upstream_api_key}
    loaded = load(flags, config)
    report = Report(Scrubber(_secrets(loaded.settings)), as_json)
    wish = Wish(timeout, with_request=not no_request)
    for group, findings in examine(loaded, wish, quick=quick):
        report.begin(group)
        for finding in findings:
            report.add(group, finding)
    report.end()
    raise typer.Exit(ExitCode.OUR_FAILURE if report.failed else ExitCode.OK)


def _secrets(settings: "Settings") -> Iterator[str]:
    keys = [*settings.api_keys, *(up.api_key for up in settings.upstreams if up.api_key)]
    return (key.get_secret_value() for key in keys)
