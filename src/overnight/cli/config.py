"""`overnight config show`: the effective settings and where each came from."""

import json
from collections.abc import Iterator, Mapping

from overnight.cli.options import ConfigOption, JsonOption


def show(*, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the effective settings, secrets hidden, and where each comes from.

    As `serve` would have them without flags: environment over TOML file over default.
    """
    from overnight.settings import load

    loaded = load({}, config)
    values = loaded.settings.model_dump(mode="json")
    if as_json:
        print(json.dumps({"settings": values, "origins": loaded.origins}, indent=2))
        return
    rows = list(_rows(values))
    width = max(len(name) for name, _ in rows)
    value_width = min(48, max(len(value) for _, value in rows))
    for name, value in rows:
        print(f"{name:{width}}  {value:{value_width}}  {_origin(name, loaded.origins)}")


def _rows(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _rows(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for number, one in enumerate(value):
                yield from _rows(one, f"{prefix}{name}.{number}.")
        else:
            yield prefix + name, "unset" if value is None else json.dumps(value)


def _origin(name: str, origins: Mapping[str, str]) -> str:
    """A list comes from one place as a whole."""
    return origins.get(name) or origins.get(name.partition(".")[0]) or "default"
