"""A night with a secret of every kind in it, and all that anybody could read of it afterwards.

    with a_night(folder) as told:                # a service that has been through everything
        assert told["logs"]                      # all texts are latin-1

Two tenants, four upstreams with a key each: one tells what it was sent, one redirects to a thief,
one is ill and says why with its key. Jobs succeed, fail and wait; processes die; somebody asks
with a wrong key; the operator looks at everything.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.api_server import form
from support.batches import ENDPOINT, FINAL, input_line
from support.command_line import overnight
from support.hook_receiver import hook_receiver
from support.polling import wait_for
from support.scripted import Received, Steps, reply, reply_json
from support.scripted_thread import scripted
from support.service import ServiceProcess

ECHO_KEY, MOVED_KEY, ILL_KEY = (f"canary/{name}+Upstream=" for name in ("echo", "moved", "ill"))
CONFIGURED_KEY = "canary-Configured-tenant-key"
WRONG_KEY = "canary-Wrong-key-of-somebody"
PASSWORD = "canary-Password"
UPSTREAM_KEYS = {"echo": ECHO_KEY, "moved": MOVED_KEY, "ill": ILL_KEY}

CASES = ("fine", "refused", "slashed", "no-json")
"""What the echo makes of a request that names one of them."""


def echo(request: Received) -> Steps:
    """Shows what it was sent to whoever sent it, as proxies that are being debugged do."""
    if request.method == "GET":
        return reply_json({"data": [{"id": "echo"}]})
    # Doctor's test request names none.
    case = next((case for case in CASES if case.encode() in request.body), "fine")
    sent = {"message": f"I was sent {request.headers}", "code": "echo"}
    match case:
        case "fine":
            return reply_json({"choices": [], "usage": {}})
        case "refused":
            return reply_json({"error": sent}, 422, x_request_id=request.headers["authorization"])
        case "slashed":
            return reply(422, json.dumps({"error": sent}).replace("/", "\\/").encode())
        case _:
            return reply(200, f"{request.headers}".encode())


def ill(request: Received) -> Steps:
    return reply_json({"error": f"out of order for {request.headers['authorization']}"}, 503)


@dataclass
class Asker:
    """Asks one service in plain HTTP and keeps all that comes back but what must be told once."""

    base_url: str
    told: list[str] = field(default_factory=list)

    def ask(
        self,
        method: str,
        path: str,
        key: str | None = None,
        body: bytes | None = None,
        *,
        secret: bool = False,
        **headers: str,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """`secret`: this reply is where its caller is told a secret."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            names["authorization"] = f"Bearer {key}"
        place = urlsplit(self.base_url)
        with closing(HTTPConnection(place.hostname or "", place.port, timeout=30)) as connection:
            connection.request(method, path, body, names)
            answer = connection.getresponse()
            got = {name.lower(): value for name, value in answer.getheaders()}
            content = answer.read()
        if not secret:
            self.told.append(f"{got}\n{content.decode('latin-1')}")
        return answer.status, got, content

    def json(self, method: str, path: str, key: str, value: object = None, **more: Any) -> Any:
        body = None if value is None else json.dumps(value).encode()
        _, _, content = self.ask(method, path, key, body, content_type="application/json", **more)
        return json.loads(content)

    def submit(self, key: str, content: bytes) -> str:
        body, headers = form({"purpose": "batch"}, content)
        kind = headers["content-type"]
        _, _, made = self.ask("POST", "/v1/files", key, body, content_type=kind)
        wish = {"input_file_id": json.loads(made)["id"], "endpoint": ENDPOINT}
        return str(self.json("POST", "/v1/batches", key, wish)["id"])

    def batch(self, key: str, batch_id: str) -> dict[str, Any]:
        return dict(self.json("GET", f"/v1/batches/{batch_id}", key))

    def wait(self, key: str, batch_id: str) -> dict[str, Any]:
        wait_for(lambda: self.batch(key, batch_id)["status"] in FINAL, 60, "the end of a job")
        return self.batch(key, batch_id)

    def results(self, key: str, batch_id: str) -> bytes:
        batch = self.wait(key, batch_id)
        files = filter(None, (batch["output_file_id"], batch["error_file_id"]))
        return b"".join(self.ask("GET", f"/v1/files/{one}/content", key)[2] for one in files)


def command(environment: Mapping[str, str], *arguments: object) -> str:
    """What `overnight …` prints, on both streams."""
    done = subprocess.run(
        [sys.executable, "-m", "overnight", *map(str, arguments)],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | environment,
    )
    return done.stdout.decode("latin-1")


def config(folder: Path, urls: Mapping[str, str]) -> Path:
    """For its owner alone, and outside of the data folder."""
    path = folder / "overnight.toml"
    text = "[webhooks]\nallow_private = true\n[retry]\nattempts_max = 1\n"
    for name, key in UPSTREAM_KEYS.items():
        text += f'[[upstreams]]\nurl = "{urls[name]}"\napi_key = "{key}"\n'
        # What is wrong with the ill one is told when it is asked for its models.
        text += "" if name == "ill" else f'models = ["{name}"]\n'
    path.write_text(text)
    path.chmod(0o600)
    return path


@contextmanager
def a_night(folder: Path) -> Iterator[dict[str, Any]]:
    """Everything is over when this is entered; only the files are still there."""
    with (
        scripted(echo) as echoing,
        scripted(ill) as sick,
        scripted([reply(200, b"{}")]) as thief,
        scripted(lambda _: reply(307, b"", location=f"{thief.base_url}/chat/completions")) as moved,
        hook_receiver() as receiver,
    ):
        upstreams = {"echo": echoing, "moved": moved, "ill": sick}
        path = config(folder, {name: one.base_url for name, one in upstreams.items()})
        night = _Night(folder, path)
        yield night.spend(receiver.url) | {
            "upstreams": {
                name: [[one.target, one.headers, one.body.decode("latin-1")] for one in up.requests]
                for name, up in (upstreams | {"thief": thief}).items()
            },
            "hooks": [[dict(hook.headers), hook.body.decode()] for hook in receiver.hooks],
        }


class _Night:
    def __init__(self, folder: Path, config: Path) -> None:
        self._folder = folder
        self._config = config
        self._data = folder / "data"
        # Made by somebody who thought of nothing.
        self._data.mkdir()
        self._data.chmod(0o755)
        self._environment = {
            "OVERNIGHT_API_KEY": CONFIGURED_KEY,
            "OVERNIGHT_DEBUG": "1",
        }

    def spend(self, hook_url: str) -> dict[str, Any]:
        flags = ("--config", self._config)
        made = command({}, "keys", "create", "alice", "--data-dir", self._data, "--json", *flags)
        created = json.loads(made.splitlines()[0])["key"]
        log = self._folder / "stderr"
        before = os.umask(0)
        try:
            arguments = tuple(map(str, flags))
            service = ServiceProcess(self._data, arguments, self._environment, log)
            service.start()
        finally:
            os.umask(before)
        try:
            asker = Asker(service.base_url)
            secrets = self._work(service, asker, created, hook_url)
            printed = self._look(flags)
            processes = self._processes(service)
            modes = self._modes()
        finally:
            service.stop()
        return {
            "secrets": secrets | {"created": created},
            "replies": asker.told,
            "printed": printed,
            "processes": processes,
            "modes": modes,
            "log": log.read_bytes().decode("latin-1"),
            "files": {
                str(one.relative_to(self._data)): one.read_bytes().decode("latin-1")
                for one in self._data.rglob("*")
                if one.is_file()
            },
        }

    def _work(
        self, service: ServiceProcess, asker: Asker, created: str, hook_url: str
    ) -> dict[str, str]:
        """Returns the secrets that the service made."""
        hook = {"name": "a", "url": hook_url, "event_types": ["batch.completed", "batch.failed"]}
        told = asker.json("POST", "/v1/webhook_endpoints", created, hook, secret=True)
        token = self._reserve(asker, created)
        waiting = [asker.submit(created, input_line(name, model=name)) for name in ("ill", "moved")]
        lines = b"".join(input_line(case, model="echo") for case in CASES)
        for key in (created, CONFIGURED_KEY):
            results = asker.results(key, asker.submit(key, lines))
            assert results.count(b"\n") == len(CASES)
        asker.results(created, asker.submit(created, b"no line of mine\n"))
        asker.ask("GET", "/v1/files", WRONG_KEY)
        asker.ask("GET", "/v1/files", api_key=WRONG_KEY)
        asker.ask("GET", f"/v1/files?after={PASSWORD}", created)
        for one in waiting:
            wait_for(lambda one=one: asker.batch(created, one)["waiting_for"], 30, "saying why")
        self._break(service, asker, token)
        for path in ("/v3/whoami", "/v1/webhook_endpoints", f"/v1/webhook_endpoints/{told['id']}"):
            asker.ask("GET", path, created)
        for path in ("/openai/v1/openapi.json", "/together/v1/openapi.json", "/nothing"):
            asker.ask("GET", path, created)
        wait_for(lambda: self._delivered(asker, created, told["id"]), 30, "a delivery")
        return {"webhook": str(told["signing_secret"]), "link": token}

    @staticmethod
    def _delivered(asker: Asker, key: str, webhook_id: str) -> bool:
        path = f"/v1/webhook_endpoints/{webhook_id}/deliveries"
        return any(one["status"] == "delivered" for one in asker.json("GET", path, key)["data"])

    @staticmethod
    def _reserve(asker: Asker, key: str) -> str:
        """The token of a signed link."""
        kind = "application/x-www-form-urlencoded"
        body = b"purpose=batch-api&file_name=a.jsonl"
        _, headers, _ = asker.ask("POST", "/v1/files", key, body, content_type=kind, secret=True)
        return headers["location"].rpartition("/storage/")[2]

    def _break(self, service: ServiceProcess, asker: Asker, token: str) -> None:
        """What is not foreseen: a folder that has gone, and a process that dies of it."""
        incoming = self._data / "incoming"
        aside = incoming.rename(self._folder / "aside")
        incoming.write_bytes(b"")
        status, _, _ = asker.ask("PUT", f"/storage/{token}", body=b"{}")
        assert status >= 500
        asker.ask("PUT", f"/storage/{token[:-1]}x", body=b"{}")
        service.kill("api")
        wait_for(lambda: "died of an exception" in self._log_text(), 45, "an exception")
        incoming.unlink()
        aside.rename(incoming)
        service.kill("worker")
        wait_for(lambda: service.client.status_of("/readyz") == 200, 45, "being well again")

    def _log_text(self) -> str:
        return (self._folder / "stderr").read_text()

    def _look(self, flags: Sequence[object]) -> str:
        """All that an operator can ask for, for people and for programs."""
        wrong = (
            f"http://somebody:{PASSWORD}@127.0.0.1:9/v1",
            f"somebody:{PASSWORD}@127.0.0.1:9/v1",
            f"http://127.0.0.1:9/v1?key={PASSWORD}",
        )
        with pytest.MonkeyPatch.context() as patched:
            for name, value in self._environment.items():
                patched.setenv(name, value)
            ended = [
                overnight("doctor", "--data-dir", self._data, *flags),
                overnight("doctor", "--data-dir", self._data, *flags, "--json"),
                overnight("config", "show", *flags),
                overnight("config", "show", *flags, "--json"),
            ]
        refused = ("doctor", *(word for url in wrong for word in ("--upstream", url)))
        printed = [one.out + one.err for one in ended]
        return "".join((*printed, command(self._environment, *refused)))

    def _processes(self, service: ServiceProcess) -> str:
        """The command lines of the service's processes, which every user may read."""
        pids = [service.pid, *service.pids()]
        return "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in pids)

    def _modes(self) -> dict[str, int]:
        return {
            str(one.relative_to(self._data)): one.stat().st_mode & 0o777
            for one in self._data.rglob("*")
        }
