"""`overnight serve`: the service, until it is told to stop."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from overnight.cli.messages import ExitCode
from overnight.cli.options import (
    ConfigOption,
    DataDirOption,
    MaxInFlightOption,
    UpstreamKeyOption,
    UpstreamOption,
)
from overnight.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from overnight.settings import Settings


HostOption = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Address to listen on [default: 127.0.0.1]"),
]
LanesOption = Annotated[
    int | None,
    typer.Option(metavar="N", help="Workers that may share an upstream [default: 1]"),
]
PortOption = Annotated[
    int | None,
    typer.Option(metavar="N", help="Port to listen on; 0 takes a free one [default: 8024]"),
]


def serve(  # noqa: PLR0913  one per flag
    *,
    data_dir: DataDirOption = None,
    host: HostOption = None,
    port: PortOption = None,
    upstream: UpstreamOption = None,
    upstream_api_key: UpstreamKeyOption = None,
    max_in_flight: MaxInFlightOption = None,
    lanes: LanesOption = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Dispatching processes [default: 1]")
    ] = None,
    api_key: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Key that clients may use; may be repeated."),
    ] = None,
    allow_open: Annotated[
        bool | None,
        typer.Option("--allow-open", help="Listen beyond this machine though nobody needs a key."),
    ] = None,
    public_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Base URL of the proxy that clients come through."),
    ] = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", hidden=True)] = False,
) -> None:
    """Serve the Batch APIs in front of one or several upstreams."""
    from overnight.cli.start_notice import announce
    from overnight.settings import load
    from overnight.supervisor import Supervisor

    flags = {
        "data_dir": data_dir,
        "host": host,
        "port": port,
        "upstream": upstream,
        "upstream_api_key": upstream_api_key,
        "max_in_flight": max_in_flight,
        "lanes": lanes,
        "workers": workers,
        "api_key": api_key,
        "allow_open": allow_open,
        "public_url": public_url,
    }
    settings = load(flags, config).settings
    require_upstream(settings)
    refuse_exposure(settings)

    def on_started(effective: "Settings") -> None:
        work = (effective, supervisor.children, as_json)
        threading.Thread(target=announce, args=work, name="start notice", daemon=True).start()

    supervisor = Supervisor(settings, on_started=on_started)
    code = supervisor.run()
    if code == ExitCode.OK and sys.stderr.isatty():
        print("\nStopped; the same command goes on where it was.", file=sys.stderr)
    raise typer.Exit(code)


def require_upstream(settings: "Settings") -> None:
    """Raises `ConfigurationError` when there is nothing to send requests to."""
    if settings.upstreams:
        return
    refusal = ConfigurationError("There is no upstream to send requests to.")
    refusal.add_note("Name a server with --upstream, such as --upstream http://127.0.0.1:8000/v1")
    refusal.add_note("No server at hand? `overnight sim` is a simulated one.")
    raise refusal


def refuse_exposure(settings: "Settings") -> None:
    """Raises `ConfigurationError` when other machines could come in without a key."""
    from overnight.domain.address import is_loopback

    if settings.api_keys or settings.allow_open or is_loopback(settings.host):
        return
    if _has_keys(settings.data_dir):
        return
    refusal = ConfigurationError(
        f"Listening on {settings.host} would let everybody who can reach this machine in."
    )
    refusal.add_note("Give clients a key with `overnight keys create NAME`, or --api-key KEY")
    refusal.add_note("or say with --allow-open that this is meant.")
    raise refusal


def _has_keys(data_dir: Path) -> bool:
    """Asked in another process: this one becomes the supervisor, which stays free of SQL."""
    if not data_dir.is_dir():
        return False
    command = [sys.executable, "-m", "overnight", "keys", "list", "--all", "--json"]
    asked = subprocess.run(  # noqa: S603  our own command
        [*command, "--data-dir", str(data_dir)], check=False, capture_output=True
    )
    if asked.returncode != ExitCode.OK:
        # Nothing in it yet; or it can not be used, and opening it is no remedy.
        return False
    return bool(json.loads(asked.stdout)["keys"])
