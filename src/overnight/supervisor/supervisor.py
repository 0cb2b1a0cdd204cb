"""One thread, no event loop: start, wait for a death or a wish to stop, start again."""

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, TextIO

from overnight.error_log import ErrorLog
from overnight.settings import Settings
from overnight.supervisor.folder import open_folder
from overnight.supervisor.listener import bind
from overnight.supervisor.place import ChildCommand, Inheritance, Place, how_it_ended, node_command

RUN_FILE_NAME: Final = "run.json"
"""In the data folder while the service runs: `{"url", "pid", "pids": {role: [pid, …]}}`."""

STOP_SECONDS: Final = 9.0
"""From the wish to stop to the SIGKILL of what has not; the whole exit takes less than 10."""

_TICK_SECONDS: Final = 1.0
"""Deaths announce themselves by SIGCHLD; looking anyway costs nothing and misses nothing."""

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Supervisor:
    """Runs a service in the calling thread, which must be the main one (signals).

    `run` may be called once. `stop` and `children` may be called from any thread.
    """

    def __init__(
        self,
        settings: Settings,
        log: TextIO = sys.stderr,
        *,
        on_started: Callable[[Settings], None] = lambda _: None,
        command: ChildCommand = node_command,
    ) -> None:
        """`on_started` gets the settings with the real port once all children are started;
        it must not block. `log` gets one line per event.
        """
        self._settings = settings
        self._log = log
        self._errors = ErrorLog(settings.data_dir)
        self._on_started = on_started
        self._command = command
        self._places: tuple[Place, ...] = ()
        self._stops_wanted = 0
        self._wake_reader, self._wake_writer = os.pipe()
        for end in (self._wake_reader, self._wake_writer):
            os.set_blocking(end, False)

    def stop(self) -> None:
        """Begin an orderly stop; `run` returns when all children have ended."""
        self._stops_wanted += 1
        self._wake()

    def children(self) -> Mapping[str, list[int]]:
        """The process ids that live now, by role."""
        pids: dict[str, list[int]] = {}
        for place in self._places:
            pids.setdefault(place.role, []).extend([place.pid] if place.pid else [])
        return pids

    def run(self) -> int:
        """Serve until told to stop. Returns the exit code; raises `ConfigurationError`."""
        with ExitStack() as stack:
            stack.callback(self._close_wake_pipe)
            stack.enter_context(self._signals())
            lock = open_folder(self._settings.data_dir, self._tell_of_wait)
            stack.callback(os.close, lock)
            code = self._migrate(lock)
            if code != 0 or self._stops_wanted:
                return 0 if self._stops_wanted else code
            listener = stack.enter_context(bind(self._settings.host, self._settings.port))
            self._settings = _with_port_of(listener, self._settings)
            stack.callback(self._run_file.unlink, missing_ok=True)
            self._supervise(Inheritance(lock, listener.fileno()))
        return 0

    def _migrate(self, lock: int) -> int:
        """Bring the database up to date in a child, so that none of that stays in memory.

        It also frees what former workers held: with the lock in hand, none is alive.
        """
        place = Place("migrate", self._settings, self._command)
        place.start(Inheritance(lock))
        while (code := place.reap()) is None:
            self._sleep(_TICK_SECONDS)
            if self._stops_wanted:
                place.signal(signal.SIGKILL)  # Each migration is one transaction.
        if code not in (0, 2) and not self._stops_wanted:  # What exits with 2 has said why.
            self._say(f"error: preparing the data folder failed; the process {how_it_ended(code)}")
        return code if code >= 0 else 1

    def _supervise(self, inheritance: Inheritance) -> None:
        roles = ["api", "clerk", *["worker"] * self._settings.workers]
        self._places = tuple(Place(role, self._settings, self._command) for role in roles)
        for place in self._places:
            self._start(place, inheritance)
        self._write_run_file()
        self._on_started(self._settings)
        while not self._stops_wanted:
            self._sleep(self._seconds_to_next_start())
            if self._reap() | self._start_due(inheritance):
                self._write_run_file()
        self._stop_children()

    def _start(self, place: Place, inheritance: Inheritance) -> None:
        # Only the API gets the socket: nobody else should keep the port busy.
        fitting = inheritance if place.role == "api" else Inheritance(inheritance.lock)
        try:
            place.start(fitting)
        except OSError as error:
            wait = place.postpone()
            self._say(f"{place.role} can not be started ({error.strerror}); again in {wait:g} s")

    def _start_due(self, inheritance: Inheritance) -> bool:
        now = time.monotonic()
        due = [
            place
            for place in self._places
            if not self._stops_wanted and place.restart_at is not None and place.restart_at <= now
        ]
        for place in due:
            self._start(place, inheritance)
        return bool(due)

    def _reap(self) -> bool:
        someone_died = False
        for place in self._places:
            pid = place.pid
            if (code := place.reap()) is None:
                continue
            someone_died = True
            if not self._stops_wanted:
                wait = f"starting another in {place.wait_seconds:g} s"
                self._say(f"{place.role} (pid {pid}) {how_it_ended(code)}; {wait}")
        return someone_died

    def _stop_children(self) -> None:
        """Ask, wait, insist. Pipes stay open meanwhile: their end would mean «now»."""
        insisting = False
        deadline = time.monotonic() + STOP_SECONDS
        wishes = self._stops_wanted
        self._signal_all(signal.SIGTERM)
        while any(place.pid for place in self._places):
            self._sleep(min(_TICK_SECONDS, max(0.0, deadline - time.monotonic())))
            self._reap()
            impatient = self._stops_wanted > wishes
            if not insisting and (impatient or time.monotonic() >= deadline):
                insisting = True
                self._signal_all(signal.SIGKILL)
                deadline += STOP_SECONDS  # Only reaping is left.

    def _signal_all(self, number: signal.Signals) -> None:
        for place in self._places:
            place.signal(number)

    def _seconds_to_next_start(self) -> float:
        now = time.monotonic()
        waits = [p.restart_at - now for p in self._places if p.restart_at is not None]
        return max(0.0, min([*waits, _TICK_SECONDS]))

    def _sleep(self, seconds: float) -> None:
        """Until a signal, a call of `stop`, or the end of the time."""
        if select.select([self._wake_reader], [], [], seconds)[0]:
            with suppress(BlockingIOError):
                while os.read(self._wake_reader, 4096):
                    pass

    def _wake(self) -> None:
        with suppress(OSError):  # Full: it is awake. Closed: it has ended.
            os.write(self._wake_writer, b".")

    def _close_wake_pipe(self) -> None:
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """A handler that does nothing still writes to the wake-up descriptor."""
        handlers: dict[signal.Signals, Callable[[int, object], None]] = {
            number: lambda _number, _frame: self.stop() for number in _STOP_SIGNALS
        }
        handlers[signal.SIGCHLD] = lambda _number, _frame: None
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            del handlers[signal.SIGHUP]  # Started by nohup: meant to outlive its terminal.
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        former = signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(former)
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def _run_file(self) -> Path:
        return self._settings.data_dir / RUN_FILE_NAME

    def _write_run_file(self) -> None:
        run = {"url": self._settings.base_url, "pid": os.getpid(), "pids": self.children()}
        new = self._run_file.with_suffix(".new")
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(json.dumps(run) + "\n")
            new.replace(self._run_file)
        except OSError as error:
            self._say(f"{self._run_file} can not be written: {error.strerror}")

    def _tell_of_wait(self) -> None:
        # To the terminal alone: the folder, and with it the log, may be another service's.
        self._print(f"waiting for another Overnight to let go of {self._settings.data_dir}")

    def _say(self, line: str) -> None:
        """All it has to say is trouble, and a child's death is often told by nobody else."""
        self._errors.tell(line, "supervisor")
        self._print(line)

    def _print(self, line: str) -> None:
        # A closed terminal must not end the service.
        with suppress(OSError, ValueError):
            print(line, file=self._log, flush=True)


def _with_port_of(listener: socket.socket, settings: Settings) -> Settings:
    return settings.model_copy(update={"port": listener.getsockname()[1]})
