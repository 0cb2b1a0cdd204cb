"""The upstreams: are they there, what do they serve, do they answer a request?"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from typing import Final

from overnight.cli.doctor.finding import Finding, fail, ok, warn
from overnight.cli.probe import base_with_v1, get, headers_for, model_names, post, reason
from overnight.dispatch.complaint import names_model
from overnight.dispatch.http1 import Reply
from overnight.dispatch.reply import judge
from overnight.domain.request import Failure, FailureKind
from overnight.settings import UpstreamSettings

_ASKERS_MAX: Final = 8
_NAMED_MAX: Final = 5

_START_IT: Final = "Is it running, and is this its address? Jobs wait until it answers."
_KEY: Final = "Give its key with --upstream-api-key, or as api_key under [[upstreams]]."


@dataclass(frozen=True, slots=True)
class Wish:
    """How to look: `with_request` also sends one request that asks for a single token."""

    timeout_seconds: float
    with_request: bool


def upstreams(configured: Sequence[UpstreamSettings], wish: Wish) -> Iterator[Finding]:
    """Asks all of them at once; tells them in their order."""
    with ThreadPoolExecutor(_ASKERS_MAX) as askers:
        for findings in askers.map(lambda one: list(_Look(one, wish).findings()), configured):
            yield from findings


class _Look:
    def __init__(self, upstream: UpstreamSettings, wish: Wish) -> None:
        self._upstream = upstream
        self._url = upstream.url
        self._wish = wish
        self._headers = headers_for(upstream)

    def findings(self) -> Iterator[Finding]:
        started = time.monotonic()
        try:
            status, body = get(f"{self._url}/models", self._headers, self._wish.timeout_seconds)
        except (OSError, HTTPException) as error:
            yield self._unreachable("models", error)
            return
        found, models = self._listing(status, body, time.monotonic() - started)
        yield found
        if found.status == "fail" or not self._wish.with_request:
            return
        if served := self._upstream.models or models:
            yield self._request(served[0])
        else:
            told = f"{self._url} was sent no test request: no model is known"
            yield warn("request", told, "Name one as `models` under [[upstreams]].")

    def _unreachable(self, name: str, error: OSError | HTTPException) -> Finding:
        why = reason(error, self._wish.timeout_seconds)
        return fail(name, f"{self._url}: {why}", _START_IT)

    def _listing(self, status: int, body: bytes, seconds: float) -> tuple[Finding, tuple[str, ...]]:
        if status in (401, 403):
            return fail("models", f"{self._url} refuses the key ({status})", _KEY), ()
        if status >= 500:
            return fail("models", f"{self._url} answers {status}", _START_IT), ()
        better = base_with_v1(self._upstream, self._wish.timeout_seconds) if status == 404 else None
        if better:
            told = f"{self._url} has no /models"
            return fail("models", told, f"The base seems to be {better}: use that URL."), ()
        if not 200 <= status < 300:
            told = f"{self._url} lists none ({status}): it is taken to serve every model"
            return ok("models", told), ()
        models = model_names(body)
        if models is None:
            told = f"{self._url} answers /models with something else than a list of models"
            return fail("models", told, "Is this the base URL of an OpenAI-compatible API?"), ()
        return self._served(models, seconds), models

    def _served(self, models: tuple[str, ...], seconds: float) -> Finding:
        more = f" and {len(models) - _NAMED_MAX:,} more" if len(models) > _NAMED_MAX else ""
        named = ", ".join(models[:_NAMED_MAX]) + more or "no models, so takes every one"
        told = f"{self._url} lists {named} ({_in_ms(seconds)})"
        absent = [model for model in self._upstream.models if models and model not in models]
        if absent:
            told += f"; not among them: {', '.join(absent)}"
            return warn("models", told, "Correct `models` under [[upstreams]].")
        return ok("models", told)

    def _request(self, model: str) -> Finding:
        wish = {
            "model": model,
            "messages": [{"role": "user", "content": "Say: ok"}],
            "max_tokens": 1,
        }
        url = f"{self._url}/chat/completions"
        started = time.monotonic()
        try:
            status, body = post(url, wish, self._headers, self._wish.timeout_seconds)
        except (OSError, HTTPException) as error:
            return self._unreachable("request", error)
        seconds = time.monotonic() - started
        match judge(Reply(status, body)):
            case Failure() as failure:
                return self._refused(model, failure)
            case _:
                return ok("request", f"{self._url} answers for {model} in {_in_ms(seconds)}")

    def _refused(self, model: str, failure: Failure) -> Finding:
        told = f"{self._url}, asked for {model}: {failure.detail}"
        if failure.kind is not FailureKind.STATUS:
            return fail("request", told, "Is this the base URL of an OpenAI-compatible API?")
        if failure.status in (401, 403):
            return fail("request", told, _KEY)
        if failure.status == 404 and names_model(failure):
            return fail("request", told, "Correct `models` under [[upstreams]].")
        if failure.status == 429:
            return warn("request", told, "It is busy, or a quota is used up; requests wait for it.")
        if failure.status >= 500:
            return fail(
                "request", told, "Its own log says why; requests are sent again for a while."
            )
        return warn("request", told, "No trouble if it is there for other endpoints than chat.")


def _in_ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds < 10 else f"{seconds:,.1f} s"
