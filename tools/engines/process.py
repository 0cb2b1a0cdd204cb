"""An engine as a process: started, seen to answer, killed and started again."""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from overnight.domain.errors import Unavailable
from tools.engines.catalogue import HOST, Engine

START_SECONDS_MAX: Final = 300.0
_STOP_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.2
_ANSWER_SECONDS: Final = 20.0
_LOG_LINES_SHOWN: Final = 12
_ANSWERED: Final = '/v1/chat/completions HTTP/1.1" 200'
"""In the access log of uvicorn, which all of them use."""


class EngineProcess:
    """On one port for life, so that it comes back where it was. Its words go to a file."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self._port = _free_port()
        self._log = folder / f"{engine.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self._port}/v1"

    def start(self) -> None:
        """Does not wait for it to be ready."""
        with self._log.open("ab") as log:
            # A group of its own: engines have children, and kill -9 is to reach them all.
            self._process = subprocess.Popen(
                self.engine.command(self.engine.serving(self._port)),
                env=os.environ | self.engine.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    def wait_until_ready(self) -> float:
        """Returns the seconds until it answered a request. Raises `Unavailable`."""
        began = time.monotonic()
        while not self._answers():
            if self._process is None or self._process.poll() is not None:
                raise self._failed("ended before it was ready")
            if time.monotonic() - began > START_SECONDS_MAX:
                raise self._failed(f"was not ready within {START_SECONDS_MAX:g} s")
            time.sleep(_LOOK_SECONDS)
        return time.monotonic() - began

    def kill(self) -> None:
        """kill -9 of it and its children; returns when they are gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def answers(self) -> int:
        """How many chat completions it says to have answered, its own start check included."""
        return self._log.read_text(errors="replace").count(_ANSWERED)

    def _answers(self) -> bool:
        message = {"role": "user", "content": "Are you there?"}
        body = {"model": self.engine.served_as, "max_tokens": 1, "messages": [message]}
        connection = HTTPConnection(HOST, self._port, timeout=_ANSWER_SECONDS)
        try:
            connection.request(
                *("POST", "/v1/chat/completions", json.dumps(body)),
                {"Content-Type": "application/json"},
            )
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _failed(self, how: str) -> Unavailable:
        failure = Unavailable(f"{self.engine.title} {how}")
        for line in self._log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:]:
            failure.add_note(line[:200])
        return failure


@contextmanager
def running_engine(engine: Engine) -> Iterator[EngineProcess]:
    """Started, not yet ready; ended on leaving, whatever comes."""
    with tempfile.TemporaryDirectory(prefix="overnight-engine-") as folder:
        process = EngineProcess(engine, Path(folder))
        try:
            process.start()
            yield process
        finally:
            process.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
