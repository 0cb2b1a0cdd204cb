"""Where values come from: flags over environment over TOML file over defaults."""

import difflib
import json
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from overnight.domain.errors import ConfigurationError
from overnight.settings.fields import wanted
from overnight.settings.model import Settings
from overnight.settings.refusals import TomlFile, sentences, unknown

ENVIRONMENT_PREFIX: Final = "OVERNIGHT_"
DEFAULT_CONFIG: Final = Path("overnight.toml")
DEFAULT_ORIGIN: Final = "default"


class _Environment(Settings, BaseSettings):
    """What the environment may name: all settings, and the short forms that flags have too."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", env_ignore_empty=True
    )
    upstream: str | None = None
    upstream_api_key: str | None = None
    max_in_flight: int | None = None
    lanes: int | None = None
    api_key: str | None = None


_FOR_ALL_UPSTREAMS: Final = {
    "upstream_api_key": "api_key",
    "max_in_flight": "max_in_flight",
    "lanes": "lanes",
}
_SHORT_FORMS: Final = frozenset({"upstream", "api_key", *_FOR_ALL_UPSTREAMS})
_NOT_SETTINGS: Final = frozenset({"base_url", "debug"})
"""Environment names of ours that are read by single commands."""


@dataclass(frozen=True, slots=True)
class Loaded:
    settings: Settings
    origins: Mapping[str, str]
    """Dotted name (`retry.attempts_max`, `upstreams.0.url`) → the flag, the variable or the file
    its value came from, for names that are not at their default.
    """
    strangers: tuple[str, ...] = ()
    """Variables of the environment with our prefix that mean nothing to us."""

    def origin(self, name: str) -> str:
        return self.origins.get(name, DEFAULT_ORIGIN)


@dataclass(frozen=True, slots=True)
class _Layer:
    values: Mapping[str, object]
    origin: Callable[[str], str]
    """Where it has the value of a dotted name from, in words to look for."""


def load(flags: Mapping[str, object], config: Path | None = None) -> Loaded:
    """Merge flags, environment and TOML file; `None` among the flags means not given.

    Flags are settings by name, or the short forms `upstream` and `api_key` (one or several),
    `upstream_api_key`, `max_in_flight` and `lanes` (for all upstreams that the same or a lower
    layer names). Raises `ConfigurationError` that says which name is wrong, where and what is
    right.
    """
    file = _read_file(config)
    given = {name: value for name, value in flags.items() if value is not None and value != []}
    variables, strangers = _read_environment()
    merged = _Merged()
    for layer in (
        _Layer(tomllib.loads(file.text), lambda _: file.name),
        _Layer(variables, _variable),
        _Layer(given, lambda name: f"--{name.replace('_', '-')}"),
    ):
        _check_top_level(layer, file)
        merged.add(layer)
    try:
        settings = Settings.model_validate(merged.values)
    except ValidationError as error:
        raise ConfigurationError("\n".join(sentences(error, merged.origins, file))) from error
    return Loaded(settings, merged.origins, strangers)


def _read_file(config: Path | None) -> TomlFile:
    """The file, which parses; an empty one when none was named and there is none."""
    path = config or DEFAULT_CONFIG
    try:
        text = path.read_text(encoding="utf-8")
        tomllib.loads(text)
    except FileNotFoundError:
        if config is None:
            return TomlFile(str(path), "")
        raise ConfigurationError(f"There is no configuration file {path}.") from None
    except OSError as error:
        raise ConfigurationError(f"{path} can not be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}.") from error
    return TomlFile(str(path), text)


def _variable(name: str) -> str:
    """A group's member may have a variable of its own, or stand in that of its group."""
    variable = ENVIRONMENT_PREFIX + name.replace(".", "__").upper()
    names = {given.upper() for given in os.environ}
    while variable not in names and "__" in variable:
        variable = variable.rpartition("__")[0]
    return variable


def _read_environment() -> tuple[dict[str, object], tuple[str, ...]]:
    """Values by name, and the variables that only look like ours."""
    known = set(_Environment.model_fields) | _NOT_SETTINGS
    strangers = []
    for variable in sorted(os.environ):
        name = variable.lower().removeprefix(ENVIRONMENT_PREFIX.lower())
        if not variable.upper().startswith(ENVIRONMENT_PREFIX) or name.split("__")[0] in known:
            continue
        # A stranger with our prefix is no business of ours; a slip of the pen is.
        if near := difflib.get_close_matches(name, known, n=1, cutoff=0.8):
            meant = ENVIRONMENT_PREFIX + near[0].upper()
            raise ConfigurationError(f"There is no setting {variable}; did you mean {meant}?")
        strangers.append(variable)
    try:
        return EnvSettingsSource(_Environment)(), tuple(strangers)
    except SettingsError as error:
        raise ConfigurationError(_not_json(error)) from error


def _not_json(error: SettingsError) -> str:
    """Which variable it is, and what it should be; its value may hold a key and is not told."""
    for name, info in _Environment.model_fields.items():
        variable = ENVIRONMENT_PREFIX + name.upper()
        value = next((os.environ[v] for v in os.environ if v.upper() == variable), None)
        cause = error.__cause__
        if value and isinstance(cause, json.JSONDecodeError) and cause.doc == value:
            return f"The variable {variable} is not JSON; it should be {wanted(info)}."
    return f"A variable of the environment is wrong: {error}."


def _check_top_level(layer: _Layer, file: TomlFile) -> None:
    known = set(Settings.model_fields) | _SHORT_FORMS
    wrong = [
        unknown(name, known, layer.origin(name), file) for name in layer.values if name not in known
    ]
    if wrong:
        raise ConfigurationError("\n".join(wrong))


@dataclass(slots=True)
class _Merged:
    """The layers so far, the lowest first."""

    values: dict[str, object] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def add(self, layer: _Layer) -> None:
        """Lay one over those below. What a layer says in a short form is spelt out."""
        values = dict(layer.values)
        short = {name: values.pop(name) for name in _SHORT_FORMS & values.keys()}
        has_own = "upstreams" in values or "upstream" in short
        if has_own:
            tables, urls = values.pop("upstreams", None), short.get("upstream")
            self._replace_upstreams(layer, _several(tables), _several(urls))
        for name, member in _FOR_ALL_UPSTREAMS.items():
            if name in short:
                # Within one layer the particular wins over the general.
                self._for_all_upstreams(layer.origin(name), member, short[name], weakly=has_own)
        if keys := _several(short.get("api_key")):
            values["api_keys"] = [*_several(values.get("api_keys")), *keys]
        self._overlay(layer, values)
        if keys:
            self.origins["api_keys"] = layer.origin("api_key")

    def _replace_upstreams(self, layer: _Layer, tables: list[object], urls: list[object]) -> None:
        """One list of upstreams takes the place of another; it is never added to it."""
        for name in [name for name in self.origins if name.startswith("upstreams.")]:
            del self.origins[name]
        self.values["upstreams"] = [*tables, *({"url": url} for url in urls)]
        for number, table in enumerate(tables):
            places = [f".{name}" for name in table] if isinstance(table, dict) else [""]
            for place in places:
                name = f"upstreams.{number}{place}"
                self.origins[name] = layer.origin(name)
        for number in range(len(tables), len(tables) + len(urls)):
            self.origins[f"upstreams.{number}.url"] = layer.origin("upstream")

    def _for_all_upstreams(self, origin: str, member: str, value: object, *, weakly: bool) -> None:
        """Give each upstream a value; `weakly`: only those that say nothing themselves."""
        upstreams = _several(self.values.get("upstreams"))
        for number, table in enumerate(upstreams):
            if isinstance(table, dict) and not (weakly and member in table):
                upstreams[number] = {**table, member: value}
                self.origins[f"upstreams.{number}.{member}"] = origin
        self.values["upstreams"] = upstreams

    def _overlay(self, layer: _Layer, values: Mapping[str, object]) -> None:
        for name, value in values.items():
            below = self.values.get(name)
            if isinstance(value, dict):
                self.values[name] = {**(below if isinstance(below, dict) else {}), **value}
                for member in value:
                    self.origins[f"{name}.{member}"] = layer.origin(f"{name}.{member}")
            else:
                self.values[name] = value
                self.origins[name] = layer.origin(name)


def _several(value: object) -> list[object]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
