"""Wires everything: the only place that knows which parts make a process of which role.

    python -m overnight.node ROLE --assignment FD [--lock FD] [--socket FD]

The supervisor starts these. `--assignment` is a pipe: its first line is the settings and this
process's identity, and its end means that the supervisor is gone and so must we be.
"""

import argparse
import asyncio
import logging
import os
import resource
import secrets
import signal
import socket
import sys
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

import structlog

from overnight.domain.errors import ConfigurationError, Corrupt, LeaseLost, Unavailable
from overnight.error_log import ErrorLog
from overnight.options import dispatch_options, fast_loop, lane_options
from overnight.seams import Seams
from overnight.settings import Assignment, Settings
from overnight.store import lanes, workers
from overnight.store.blobs import Blobs
from overnight.store.database import Database

if TYPE_CHECKING:
    from overnight.service.submission import JobsOptions
    from overnight.service.webhooks.courier import CourierOptions

DATABASE_NAME: Final = "overnight.sqlite3"
SECRET_NAME: Final = "secret"  # noqa: S105  a file name
SECRET_BYTES: Final = 32

CONNECTIONS_MAX: Final = 4_000
"""To the API, where the system lets us open enough files."""
SPARE_FILES: Final = 256
"""For the database, what libraries keep open, and connections that are just ending."""

REFUSED: Final = 2
"""The exit code for a data folder that this program can not serve, which it has said."""

_log = structlog.get_logger()


def database_path(settings: Settings) -> Path:
    return settings.data_dir / DATABASE_NAME


class Node:
    """One process of the service: its settings, its identity and what it shares with others."""

    def __init__(self, assignment: Assignment) -> None:
        self.settings = assignment.settings
        self.id = assignment.worker_id
        self.replaces = assignment.replaces
        self.seams = Seams()
        self.blobs = Blobs(self.settings.data_dir, self.seams.disk)

    def database(self) -> Database:
        return Database(database_path(self.settings), self.seams.threads("database"))

    async def migrate(self) -> None:
        """Before anything else runs: the schema, the folders, and nobody's claims."""
        # Alembic is slow to import, and no other role needs it.
        from overnight.store.migrate import migrate  # noqa: PLC0415

        migrate(database_path(self.settings))
        self.blobs.make_folders()
        self._make_secret()
        wanted = [
            lanes.LaneSpec(upstream.url, number)
            for upstream in self.settings.upstreams
            for number in range(upstream.lanes)
        ]
        database = self.database()
        now = self.seams.clock.now()
        # We hold the folder's lock: whoever had a claim is dead.
        await database.write(lambda tx: workers.reclaim_all(tx, now))
        await database.write(lambda tx: lanes.sync(tx, wanted))
        await database.close()

    def _make_secret(self) -> None:
        path = self.settings.data_dir / SECRET_NAME
        if path.exists():
            return
        draft = path.with_name(path.name + ".draft")
        self.seams.disk.remove(draft)
        with closing(self.seams.disk.create(draft)) as file:
            file.append([secrets.token_bytes(SECRET_BYTES)])
            file.datasync()
        self.seams.disk.publish(draft, path)

    async def _take_over(self, database: Database) -> None:
        """The process that had our place is dead; what it held is free at once."""
        if self.replaces:
            now = self.seams.clock.now()
            await database.write(lambda tx: workers.reclaim(tx, self.replaces, now))

    async def worker(self, stop: asyncio.Event) -> None:
        from overnight.service.worker import Worker, WorkerOptions  # noqa: PLC0415

        settings = self.settings
        database = self.database()
        await self._take_over(database)
        options = WorkerOptions(
            upstreams={up.url: lane_options(up, settings) for up in settings.upstreams},
            dispatch=dispatch_options(settings),
            lease_seconds=settings.lease_seconds,
            cancel_grace_seconds=settings.cancel_grace_seconds,
            expire_grace_seconds=settings.expire_grace_seconds,
        )
        await Worker(self.id, database, self.blobs, self.seams, options).run(stop)
        await database.close()

    async def clerk(self, stop: asyncio.Event) -> None:
        from overnight.service.clerk import Clerk, ClerkOptions  # noqa: PLC0415
        from overnight.service.intake import IntakeOptions  # noqa: PLC0415
        from overnight.service.webhooks.deliverer import DelivererOptions  # noqa: PLC0415

        settings = self.settings
        database = self.database()
        await self._take_over(database)
        options = ClerkOptions(
            intake=IntakeOptions(settings.limits.line_rules(None)),
            deliverer=DelivererOptions(
                courier=self._courier_options(),
                give_up_seconds=settings.webhooks.give_up_seconds,
            ),
            lease_seconds=settings.lease_seconds,
        )
        await Clerk(self.id, database, self.blobs, self.seams, options).run(stop)
        await database.close()

    def _courier_options(self) -> "CourierOptions":
        from overnight.service.webhooks.courier import CourierOptions  # noqa: PLC0415

        webhooks = self.settings.webhooks
        return CourierOptions(webhooks.allow_private, webhooks.timeout_seconds)

    def _jobs_options(self) -> "JobsOptions":
        from overnight.service.submission import (  # noqa: PLC0415
            DEFAULT_ENDPOINTS,
            JobsOptions,
            MetadataLimits,
        )

        settings, limits = self.settings, self.settings.limits
        return JobsOptions(
            endpoints=(*DEFAULT_ENDPOINTS, *settings.endpoints),
            window_seconds=settings.completion_window_seconds,
            any_window=settings.any_completion_window,
            alive_max=limits.jobs_alive_max,
            metadata=MetadataLimits(
                pairs_max=limits.metadata_pairs_max,
                key_max=limits.metadata_key_characters_max,
                value_max=limits.metadata_value_characters_max,
            ),
        )

    async def api(self, listener: socket.socket, stop: asyncio.Event) -> None:
        from overnight.api.app import ApiOptions, Services, create_app  # noqa: PLC0415
        from overnight.api.patience import Patience  # noqa: PLC0415
        from overnight.api.server import serve  # noqa: PLC0415
        from overnight.service.files import Files, FilesOptions  # noqa: PLC0415
        from overnight.service.health import Health  # noqa: PLC0415
        from overnight.service.jobs import Jobs  # noqa: PLC0415
        from overnight.service.keyring import Keyring  # noqa: PLC0415
        from overnight.service.part_uploads import PartUploads  # noqa: PLC0415
        from overnight.service.webhooks.courier import Courier  # noqa: PLC0415
        from overnight.service.webhooks.endpoints import Webhooks  # noqa: PLC0415

        settings, seams = self.settings, self.seams
        database = self.database()
        secret = (settings.data_dir / SECRET_NAME).read_bytes()
        options = FilesOptions(
            secret=secret,
            file_bytes_max=settings.limits.file_bytes_max,
            files_max=settings.limits.files_max,
            storage_bytes_max=settings.limits.storage_bytes_max,
            deduplicate=settings.deduplicate_uploads,
        )
        files = Files(database, self.blobs, seams, options)
        part_uploads = PartUploads(database, self.blobs, seams, options)
        jobs = Jobs(database, self.blobs, seams, self._jobs_options())
        keys = (key.get_secret_value() for key in settings.api_keys)
        keyring = Keyring(database, seams.clock, keys)
        courier = Courier(seams, self._courier_options())
        app = create_app(
            Services(
                files=files,
                part_uploads=part_uploads,
                jobs=jobs,
                webhooks=Webhooks(database, seams, courier, settings.webhooks.endpoints_max),
                health=Health(database, self.blobs, seams),
                keyring=keyring,
                chance=seams.chance,
            ),
            ApiOptions(settings.public_url, settings.default_dialect, not settings.allow_open),
        )
        await files.clear_incoming()
        await serve(app, listener, stop, seams.chance, Patience(_connections_max()))
        files.close()
        part_uploads.close()
        await database.close()


def _connections_max() -> int:
    """As many as may be open, each with the file that it brings or takes."""
    wanted = 2 * CONNECTIONS_MAX + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < wanted:
        soft = wanted if hard < 0 else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return CONNECTIONS_MAX if soft < 0 else max(1, min(wanted, soft) - SPARE_FILES) // 2


class ForwardToStructlog(logging.Handler):
    """Lets libraries that know only the standard library's logging end up in the same place."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


class UnhurtLogger(structlog.PrintLogger):
    """A full disk or a closed terminal behind standard error must not end the work."""

    def msg(self, message: str) -> None:
        with suppress(OSError, ValueError):
            super().msg(message)

    debug = info = warning = error = critical = msg


def log_as(role: str, data_dir: Path) -> None:
    """One line per event on stderr, naming the process; what is bad also into the error log."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            ErrorLog(data_dir),
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # The one of Rich shows local variables, and among them keys.
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ],
        logger_factory=lambda *_: UnhurtLogger(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(role=role, pid=os.getpid())
    logging.getLogger().addHandler(ForwardToStructlog(logging.WARNING))
    sys.excepthook = _log_death


def _log_death(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Processes are crash-only: this is the last word of one that met what it does not know."""
    _log.critical("died of an exception", exc_info=(kind, error, trace))


async def _run_role(node: Node, role: str, pipe: int, listener: int | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(pipe, _exit_at_end, pipe)
    if role == "migrate":
        await node.migrate()
    elif role == "worker":
        await node.worker(stop)
    elif role == "clerk":
        await node.clerk(stop)
    elif listener is not None:
        await node.api(socket.socket(fileno=listener), stop)


def _exit_at_end(pipe: int) -> None:
    """The supervisor is dead; a new one waits for us to be gone. Crash-only: just go."""
    if not os.read(pipe, 4096):
        os._exit(1)


def _read_line(pipe: int) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(pipe, 65536)
        if not piece:
            sys.exit(1)
        line += piece
    return bytes(line)


def main(arguments: list[str] | None = None) -> int:
    """Run one role until told to stop; the exit code is the process's."""
    parser = argparse.ArgumentParser(prog="overnight.node")
    parser.add_argument("role", choices=("migrate", "api", "clerk", "worker"))
    parser.add_argument("--assignment", type=int, required=True)
    parser.add_argument("--lock", type=int)
    parser.add_argument("--socket", type=int)
    given = parser.parse_args(arguments)
    node = Node(Assignment.from_line(_read_line(given.assignment)))
    log_as(given.role, node.settings.data_dir)
    # Ctrl-C reaches the whole group; the supervisor says when it is our turn.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with asyncio.Runner(loop_factory=fast_loop()) as runner:
            runner.run(_run_role(node, given.role, given.assignment, given.socket))
    except (ConfigurationError, Corrupt, OSError) as refusal:
        if given.role != "migrate":
            raise
        told = (f"error: {refusal}", *getattr(refusal, "__notes__", ()))
        sys.stderr.write("\n  ".join(told) + "\n")
        return REFUSED if isinstance(refusal, ConfigurationError) else 1
    except (LeaseLost, Unavailable) as error:
        # The loops outlast a database that is away; who only begins lets the next one try.
        _log.error("stopping", reason=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
