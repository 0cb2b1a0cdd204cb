"""The commands. Each imports what it needs when it is called, so that help is quick."""

from collections.abc import Callable
from typing import Annotated

import typer
from typer.core import TyperGroup

from overnight.cli import keys
from overnight.cli.config import init, show
from overnight.cli.demo import demo
from overnight.cli.doctor import doctor
from overnight.cli.messages import interrupt_on_sigterm, told
from overnight.cli.remote import files, jobs, webhooks
from overnight.cli.remote.submit import submit
from overnight.cli.run import run
from overnight.cli.serve import serve
from overnight.cli.sim import sim
from overnight.cli.validate import validate


class _Commands(TyperGroup):
    """Ends every command the same way, those of sub-groups too."""

    # Typer carries its own copy of the class and exports only a descendant of it.
    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        with told(debug=bool(ctx.params.get("debug"))):
            try:
                return super().invoke(ctx)
            except typer.BadParameter as error:
                # How pydantic begins, which newer versions of Typer ask whether a value fits.
                error.message = error.message.removeprefix("Value error, ")
                raise


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    # Help in Rich takes longer to load than the rest of the program.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from overnight import __version__

        print(f"overnight {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", envvar="OVERNIGHT_DEBUG", hidden=True, help="Show tracebacks."),
    ] = False,
) -> None:
    """Batch inference that you run yourself.

    The Together and OpenAI Batch APIs in front of any OpenAI-compatible server.
    """


app.command()(serve)
app.command()(run)
app.command()(validate)
app.command()(sim)
app.command()(demo)
app.command()(submit)
app.command()(doctor)


def _group(name: str, help: str, **commands: Callable[..., None]) -> None:
    """Sub-commands under one word, by the names they are given here."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=help)
    for verb, command in commands.items():
        group.command(verb)(command)
    app.add_typer(group, name=name)


_group(
    "jobs",
    "List, show, watch, cancel and download jobs of a server.",
    list=jobs.list_jobs,
    show=jobs.show,
    watch=jobs.watch,
    cancel=jobs.cancel,
    download=jobs.download,
)
_group(
    "files",
    "List, show, upload, download and delete files of a server.",
    list=files.list_files,
    show=files.show,
    upload=files.upload,
    download=files.download,
    delete=files.delete,
)
_group(
    "keys",
    "Create, list and revoke the API keys of a data folder.",
    create=keys.create,
    list=keys.list_keys,
    revoke=keys.revoke,
)
_group(
    "webhooks",
    "Have a server tell others when jobs end.",
    create=webhooks.create,
    list=webhooks.list_webhooks,
    show=webhooks.show,
    test=webhooks.try_out,
    rotate=webhooks.rotate,
    delete=webhooks.delete,
)
_group("config", "Look at the configuration, or begin one.", show=show, init=init)


def main() -> None:
    interrupt_on_sigterm()
    app(prog_name="overnight")
