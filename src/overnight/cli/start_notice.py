"""What `overnight serve` says once it can be used."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException
from typing import Final

from overnight.cli.probe import UpstreamView, get, look_at
from overnight.settings import Settings

_POLL_SECONDS: Final = 0.05
_LOOKERS_MAX: Final = 8


def announce(
    settings: Settings, children: Callable[[], Mapping[str, list[int]]], as_json: bool
) -> None:
    """Wait until the API answers, then print where it is; meant for a thread of its own.

    As JSON: one line `{"url", "pid", "pids": {role: [pid, …]}}`. Nobody has to read it: the
    service goes on without.
    """
    wait_until_healthy(settings)
    with suppress(BrokenPipeError):
        print(_announcement(settings, children, as_json), flush=True)


def _announcement(
    settings: Settings, children: Callable[[], Mapping[str, list[int]]], as_json: bool
) -> str:
    if as_json:
        line = {"url": settings.base_url, "pid": os.getpid(), "pids": children()}
        return json.dumps(line)
    with ThreadPoolExecutor(_LOOKERS_MAX) as lookers:
        views = list(lookers.map(look_at, settings.upstreams))
    return notice(settings, views, needs_key=needs_key(settings))


def wait_until_healthy(settings: Settings) -> None:
    while True:
        try:
            if get(f"{settings.local_url}/healthz")[0] == 200:
                return
        except (OSError, HTTPException):
            pass  # It is being started, again perhaps.
        time.sleep(_POLL_SECONDS)


def needs_key(settings: Settings) -> bool:
    """As the service itself says, for it may have keys that no setting names."""
    try:
        return get(f"{settings.local_url}/v3/whoami")[0] == 401
    except (OSError, HTTPException):
        return bool(settings.api_keys)


def notice(settings: Settings, views: Sequence[UpstreamView], *, needs_key: bool) -> str:
    """Ready to paste: the base URL as each SDK wants it, and what stands behind it."""
    url = settings.base_url
    key = "one of your keys" if needs_key else "any text (no key is needed)"
    width = max((len(view.url) for view in views), default=0)
    lines = [
        f"Overnight is ready; its data is in {settings.data_dir}.",
        "",
        f'  openai, together 1.x and 2.x:  base_url="{url}/v1"',
        f'  together 3.x:                  base_url="{url}"',
        f"  api_key: {key}",
        "",
        "Upstreams:",
        *(f"  {view.url:{width}}  {view}" for view in views),
        *_idle_workers(settings),
        "",
        "Ctrl-C stops it; the next start goes on where it was.",
    ]
    return "\n".join(lines)


def _idle_workers(settings: Settings) -> list[str]:
    """What is worth knowing when there are more workers than can send."""
    lanes = sum(upstream.lanes for upstream in settings.upstreams)
    if settings.workers <= lanes:
        return []
    told = f"Of {settings.workers} workers only {lanes} can send, the others stand by:"
    return ["", f"{told} give --lanes to share an upstream."]
