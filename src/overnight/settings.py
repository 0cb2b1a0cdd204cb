"""Everything that can be configured, and where each value came from.

A value is looked for in the flags of the command, then in the environment (`OVERNIGHT_…`), then
in a TOML file, then here. The names are the same in all three; a group's member is spelt
`OVERNIGHT_RETRY__ATTEMPTS_MAX` in the environment and `[retry] attempts_max` in TOML.
Nothing else in the program reads the environment.
"""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    SerializationInfo,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from overnight.domain.errors import ConfigurationError
from overnight.domain.request import LineRules
from overnight.domain.retry import RetryPolicy

ENVIRONMENT_PREFIX: Final = "OVERNIGHT_"
DEFAULT_CONFIG: Final = Path("overnight.toml")
DEFAULT_PORT: Final = 8024

_REVEAL: Final = {"reveal": True}
_KIB, _MIB, _GIB = 1024, 1024**2, 1024**3


def _show_secret(value: SecretStr, info: SerializationInfo) -> str:
    return value.get_secret_value() if info.context == _REVEAL else str(value)


def _not_blank(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().strip():
        raise ValueError("a key can not be empty; leave it out instead")
    return value


Secret = Annotated[SecretStr, AfterValidator(_not_blank), PlainSerializer(_show_secret)]
"""Shown as stars everywhere but on the pipe to a child process."""

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )


class UpstreamSettings(_Frozen):
    url: str
    """OpenAI-compatible base, such as `http://127.0.0.1:8000/v1`."""
    api_key: Secret | None = None
    """Sent to this upstream as a bearer token."""
    max_in_flight: int = Field(default=128, ge=1, le=65_536)
    """Requests that may be unanswered at one moment."""
    models: tuple[str, ...] = ()
    """Serve only these; empty: all it lists at `{url}/models`, or any when it lists none."""
    lanes: int = Field(default=1, ge=1, le=64)
    """Workers that may share it; its limits are split among them."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        return checked_base_url(url)


class LimitSettings(_Frozen):
    file_bytes_max: int = Field(default=50 * _GIB, ge=1)
    """Largest input file, bytes."""
    line_bytes_max: int = Field(default=16 * _MIB, ge=1 * _KIB)
    """Longest line of an input file, bytes."""
    custom_id_bytes_max: int = Field(default=512, ge=1, le=65_536)
    """Longest `custom_id`, bytes of UTF-8."""
    requests_max: int | None = Field(default=None, ge=1)
    """Most requests in one file; unset: no limit."""
    reply_bytes_max: int = Field(default=64 * _MIB, ge=1 * _KIB)
    """Longest reply taken from an upstream, bytes."""

    def line_rules(self, endpoint: str | None, *, routed: bool = False) -> LineRules:
        return LineRules(
            endpoint=endpoint,
            routed=routed,
            line_bytes_max=self.line_bytes_max,
            custom_id_bytes_max=self.custom_id_bytes_max,
            requests_max=self.requests_max,
        )


class RetrySettings(_Frozen):
    attempts_max: int = Field(default=5, ge=1, le=1_000)
    """Charged attempts of a request, the first included."""
    backoff_first_seconds: Seconds = 1.0
    """Longest wait before the second attempt; doubles from there."""
    backoff_max_seconds: Seconds = 60.0
    """Longest wait before any attempt."""

    def policy(self) -> RetryPolicy:
        return RetryPolicy(self.attempts_max, self.backoff_first_seconds, self.backoff_max_seconds)


class TimeoutSettings(_Frozen):
    connect_seconds: float = Field(default=10.0, gt=0)
    """For a connection to an upstream to open, TLS included."""
    first_byte_seconds: float = Field(default=600.0, gt=0)
    """From the sending of a request to the first byte of its reply: queueing and generation."""
    idle_seconds: float = Field(default=60.0, gt=0)
    """Between two pieces of one reply."""


class Settings(_Frozen):
    """The effective configuration of a service. Frozen; `load` makes it."""

    data_dir: Path = Path("overnight-data")
    """Folder of the database and the files; on a local disk."""
    host: str = Field(default="127.0.0.1", min_length=1)
    """Address to listen on."""
    port: int = Field(default=DEFAULT_PORT, ge=0, le=65_535)
    """Port to listen on; 0 takes a free one."""
    public_url: str | None = None
    """Base URL that clients reach this service by, when a proxy stands before it."""
    upstreams: tuple[UpstreamSettings, ...] = ()
    """Servers that answer the requests."""
    workers: int = Field(default=1, ge=1, le=256)
    """Dispatching processes; one is good for tens of thousands of requests a second."""
    api_keys: tuple[Secret, ...] = ()
    """Keys that clients may use; none: open mode, for this machine only."""
    allow_open: bool = False
    """Listen beyond this machine although nobody needs a key."""
    endpoints: tuple[str, ...] = ()
    """Endpoints to take jobs for, beyond chat completions, completions and embeddings."""
    completion_window_seconds: float = Field(default=86_400.0, gt=0, allow_inf_nan=False)
    """From the creation of a job to its deadline."""
    lease_seconds: float = Field(default=15.0, ge=3, le=3_600)
    """How long a silent worker keeps its claims."""
    cancel_grace_seconds: Seconds = 30.0
    """For requests in flight when their job is cancelled."""
    expire_grace_seconds: Seconds = 30.0
    """For requests in flight when the completion window ends."""
    limits: LimitSettings = LimitSettings()
    retry: RetrySettings = RetrySettings()
    timeouts: TimeoutSettings = TimeoutSettings()

    @field_validator("data_dir")
    @classmethod
    def _expand_home(cls, path: Path) -> Path:
        return path.expanduser()

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, url: str | None) -> str | None:
        return None if url is None else checked_base_url(url)

    @field_validator("endpoints")
    @classmethod
    def _check_endpoints(cls, endpoints: tuple[str, ...]) -> tuple[str, ...]:
        for endpoint in endpoints:
            if not endpoint.startswith("/v1/"):
                raise ValueError(f"'{endpoint}' should start with /v1/, such as /v1/rerank")
        return endpoints

    @field_validator("upstreams")
    @classmethod
    def _check_distinct(
        cls, upstreams: tuple[UpstreamSettings, ...]
    ) -> tuple[UpstreamSettings, ...]:
        urls = [upstream.url for upstream in upstreams]
        for url in urls:
            if urls.count(url) > 1:
                raise ValueError(f"{url} is listed twice; raise its max_in_flight or lanes instead")
        return upstreams

    @property
    def open_mode(self) -> bool:
        """Does anybody get in without a key, as far as the configuration says?"""
        return not self.api_keys

    @property
    def base_url(self) -> str:
        """Where clients find us, without `/v1`."""
        return self.public_url or self.local_url

    @property
    def local_url(self) -> str:
        """Where this machine finds us, whatever stands before us."""
        return f"http://{_reachable(self.host)}:{self.port}"


class Assignment(_Frozen):
    """What a child process reads as the first line of its pipe, secrets included."""

    settings: Settings
    worker_id: str
    """Fresh at each process start; names this incarnation in the database."""
    replaces: tuple[str, ...] = ()
    """Dead incarnations that had this place before: their claims may be taken at once.

    Several, because one may die before it has reclaimed its predecessor.
    """

    def to_line(self) -> bytes:
        return self.model_dump_json(context=_REVEAL).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Assignment":
        return cls.model_validate_json(line)


def checked_base_url(url: str) -> str:
    """The URL without its trailing slash; raises `ValueError` when it can not be a base."""
    url = url.strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        wanted = f"http://{url}" if "://" not in url and url else "http://127.0.0.1:8000/v1"
        raise ValueError(f"'{url}' is no http(s) URL; write it like {wanted}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the URL holds a user or password; give an api_key instead")
    if parts.query or parts.fragment:
        raise ValueError(f"'{url}' has a query or fragment; a base URL ends with its path")
    for endpoint in ("/chat/completions", "/completions", "/embeddings", "/models"):
        if parts.path.endswith(endpoint):
            base = url.removesuffix(endpoint)
            raise ValueError(f"'{url}' is one endpoint; the base it belongs to is {base}")
    _ = parts.port  # raises ValueError with a sentence of its own when it is no port
    return url


def is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _reachable(host: str) -> str:
    """An address to type into a client on this machine, for one to listen on."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104  compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


class _Environment(Settings, BaseSettings):
    """What the environment may name: all settings, and the short forms that flags have too."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", env_ignore_empty=True
    )
    upstream: str | None = None
    upstream_api_key: str | None = None
    max_in_flight: int | None = None
    api_key: str | None = None


_SHORT_FORMS: Final = frozenset({"upstream", "upstream_api_key", "max_in_flight", "api_key"})
_NOT_SETTINGS: Final = frozenset({"base_url", "debug"})
"""Environment names of ours that are read by single commands."""


@dataclass(frozen=True, slots=True)
class Loaded:
    settings: Settings
    origins: Mapping[str, str]
    """Dotted name → where its value came from, for names that are not at their default."""


@dataclass(frozen=True, slots=True)
class _Layer:
    origin: str
    values: dict[str, object]


def load(flags: Mapping[str, object], config: Path | None = None) -> Loaded:
    """Merge flags, environment and TOML file; `None` among the flags means not given.

    Flags are settings by name, or the short forms `upstream` and `api_key` (one or several),
    `upstream_api_key` and `max_in_flight` (for all upstreams that the same or a lower layer
    names). Raises `ConfigurationError` that says which name is wrong, where and what is right.
    """
    given = {name: value for name, value in flags.items() if value is not None and value != []}
    layers = [*_file_layers(config), _Layer("environment", _read_environment())]
    layers.append(_Layer("command line", given))
    merged: dict[str, object] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        _check_top_level(layer)
        _overlay(merged, _expand(layer, merged), layer.origin, origins)
    try:
        return Loaded(Settings.model_validate(merged), origins)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_sentences(error, origins))) from error


def _file_layers(config: Path | None) -> Iterator[_Layer]:
    path = config or DEFAULT_CONFIG
    try:
        with path.open("rb") as file:
            yield _Layer(str(path), tomllib.load(file))
    except FileNotFoundError:
        if config is not None:
            raise ConfigurationError(f"There is no configuration file {path}.") from None
    except OSError as error:
        raise ConfigurationError(f"{path} can not be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}.") from error


def _read_environment() -> dict[str, object]:
    known = set(_Environment.model_fields) | _NOT_SETTINGS
    for variable in os.environ:
        name = variable.lower().removeprefix(ENVIRONMENT_PREFIX.lower())
        if not variable.upper().startswith(ENVIRONMENT_PREFIX) or name.split("__")[0] in known:
            continue
        # A stranger with our prefix is no business of ours; a slip of the pen is.
        if near := difflib.get_close_matches(name, known, n=1, cutoff=0.8):
            wanted = ENVIRONMENT_PREFIX + near[0].upper()
            raise ConfigurationError(f"There is no setting {variable}; did you mean {wanted}?")
    try:
        return EnvSettingsSource(_Environment)()
    except SettingsError as error:
        raise ConfigurationError(f"A variable of the environment is wrong: {error}.") from error


def _check_top_level(layer: _Layer) -> None:
    known = set(Settings.model_fields) | _SHORT_FORMS
    for name in layer.values:
        if name not in known:
            raise ConfigurationError(_unknown(name, known, layer.origin))


def _expand(layer: _Layer, below: Mapping[str, object]) -> dict[str, object]:
    """Replace the short forms; `below` holds what lower layers say."""
    values = dict(layer.values)
    if keys := _several(values.pop("api_key", None)):
        values["api_keys"] = [*_several(values.get("api_keys")), *keys]
    if urls := _several(values.pop("upstream", None)):
        values["upstreams"] = [*_several(values.get("upstreams")), *({"url": url} for url in urls)]
    for short, name in (("upstream_api_key", "api_key"), ("max_in_flight", "max_in_flight")):
        if short not in values:
            continue
        value = values.pop(short)
        if "upstreams" in values:
            # In one layer the particular wins over the general.
            upstreams = [_with_default(one, name, value) for one in _several(values["upstreams"])]
        else:
            upstreams = [_with_value(one, name, value) for one in _several(below.get("upstreams"))]
        values["upstreams"] = upstreams
    return values


def _several(value: object) -> list[object]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _with_default(upstream: object, name: str, value: object) -> object:
    return {name: value, **upstream} if isinstance(upstream, dict) else upstream


def _with_value(upstream: object, name: str, value: object) -> object:
    return {**upstream, name: value} if isinstance(upstream, dict) else upstream


def _overlay(
    target: dict[str, object],
    values: Mapping[str, object],
    origin: str,
    origins: dict[str, str],
    prefix: str = "",
) -> None:
    for name, value in values.items():
        below = target.get(name)
        if isinstance(value, dict):
            group = dict(below) if isinstance(below, dict) else {}
            _overlay(group, value, origin, origins, f"{prefix}{name}.")
            target[name] = group
        else:
            target[name] = value
            origins[prefix + name] = origin


def _sentences(error: ValidationError, origins: Mapping[str, str]) -> Iterator[str]:
    for fault in error.errors(include_url=False, include_context=False):
        where = [str(step) for step in fault["loc"]]
        name = ".".join(where)
        origin = next((origins[key] for key in (name, where[0]) if key in origins), None)
        if fault["type"] == "extra_forbidden":
            yield _unknown(name, _siblings(fault["loc"]), origin)
        else:
            source = f" (from {origin})" if origin else ""
            message = fault["msg"].removeprefix("Value error, ")
            yield f"Setting {name}{source}: {message}."


def _siblings(place: tuple[int | str, ...]) -> set[str]:
    """Dotted names that may stand where an unknown one does."""
    *group, _ = place
    model = {"upstreams": UpstreamSettings}.get(str(group[0])) if group else Settings
    if model is None:
        model = type(Settings.model_fields[str(group[0])].default)
    prefix = "".join(f"{step}." for step in group)
    return {prefix + name for name in model.model_fields}


def _unknown(name: str, known: set[str], origin: str | None) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    advice = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(sorted(known))}."
    return f"There is no setting '{name}'{f' (from {origin})' if origin else ''}; {advice}"
