"""All checks in their order, each group begun only when it is its turn."""

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from typing import Final

from overnight.cli.doctor import database, folder, machine, troubles, upstreams
from overnight.cli.doctor.finding import Finding, Status, ok, warn
from overnight.domain.errors import OvernightError
from overnight.node import database_path
from overnight.settings import Loaded, Settings, UpstreamSettings
from overnight.store import inspection, lanes
from overnight.store.inspection import ReadOnlyDatabase

_NO_UPSTREAM: Final = "Name one with --upstream URL; `overnight sim` is a simulated one."


def examine(
    loaded: Loaded, wish: upstreams.Wish, *, quick: bool
) -> Iterator[tuple[str, Iterator[Finding]]]:
    """Names of groups, and what is found in them while it is read."""
    settings = loaded.settings
    service = folder.service_in(settings.data_dir)
    yield "Program", machine.program(loaded)
    if not folder.is_there(settings.data_dir):
        yield "Data folder", folder.place(settings.data_dir)
        yield "Upstreams", _upstreams(settings.upstreams, (), wish)
        yield "Limits", machine.limits(settings.upstreams, service.pids)
        return
    with closing(ReadOnlyDatabase(database_path(settings))) as reader:
        schema = database.schema_finding(reader)
        current = reader if schema.status is Status.OK else None
        last = _used_last(current)
        yield "Data folder", _data_folder(settings, service, current)
        yield "Database", _database(schema, service, current, quick=quick)
        if current:
            yield "Stored bytes", database.stored_bytes(current, settings.data_dir, quick=quick)
        yield "Upstreams", _upstreams(settings.upstreams, last, wish)
        yield "Limits", machine.limits(settings.upstreams or last, service.pids)
        yield "Newest errors", _newest_errors(settings, service, current)


def _data_folder(
    settings: Settings, service: folder.Service, reader: ReadOnlyDatabase | None
) -> Iterator[Finding]:
    yield from folder.place(settings.data_dir)
    live_input_bytes, used = 0, None
    if reader is not None:
        with suppress(OvernightError):  # The group about the database says why.
            live_input_bytes, used = reader.read(
                lambda tx: (inspection.live_input_bytes(tx), inspection.usage(tx))
            )
    yield folder.room(settings.data_dir, live_input_bytes)
    if used is not None:
        yield folder.storage(used, settings.limits.storage_bytes_max)
    yield folder.service_finding(service, settings.data_dir)


def _database(
    schema: Finding, service: folder.Service, reader: ReadOnlyDatabase | None, *, quick: bool
) -> Iterator[Finding]:
    yield schema
    if reader is not None:
        yield from database.contents(reader, running=service.running, quick=quick)


def _used_last(reader: ReadOnlyDatabase | None) -> tuple[UpstreamSettings, ...]:
    """Without a configuration at hand: those the service had, as far as it wrote them down."""
    urls: list[str] = []
    if reader is not None:
        with suppress(OvernightError):
            urls = sorted({lane.url for lane in reader.read(lanes.all)})
    return tuple(UpstreamSettings(url=url) for url in urls)


def _upstreams(
    configured: Sequence[UpstreamSettings],
    used_last: Sequence[UpstreamSettings],
    wish: upstreams.Wish,
) -> Iterator[Finding]:
    if configured:
        yield from upstreams.upstreams(configured, wish)
    elif used_last:
        yield ok("source", "as the service had them; their keys and limits are not known here")
        yield from upstreams.upstreams(used_last, wish)
    else:
        yield warn("models", "no upstream is configured", _NO_UPSTREAM)


def _newest_errors(
    settings: Settings, service: folder.Service, reader: ReadOnlyDatabase | None
) -> Iterator[Finding]:
    if reader is not None:
        yield from troubles.recorded(reader, running=service.running)
    yield troubles.logged(settings.data_dir)
