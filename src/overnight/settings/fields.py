"""The settings as a list: what a page, a template or a message needs to know of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from types import NoneType
from typing import Annotated, Final, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from overnight.settings.model import Settings, UpstreamSettings

Step = int | str

_UPSTREAMS: Final[tuple[str, type[BaseModel]]] = ("upstreams", UpstreamSettings)


@dataclass(frozen=True, slots=True)
class SettingField:
    """`group` is the TOML table it stands in: empty for the top, `upstreams` for each of those."""

    group: str
    name: str
    info: FieldInfo

    @property
    def meaning(self) -> str:
        return " ".join((self.info.description or "").split())


def setting_fields() -> Iterator[SettingField]:
    """Every setting: those of the top, then group by group, then those of an upstream."""
    groups = list(setting_groups())
    of_group = {name for name, _ in groups} | {"upstreams"}
    for name, info in Settings.model_fields.items():
        if name not in of_group:
            yield SettingField("", name, info)
    for group, model in (*groups, _UPSTREAMS):
        for name, info in model.model_fields.items():
            yield SettingField(group, name, info)


def setting_groups() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield name, type(field.default)


def meaning_of(name: str) -> str:
    """Of a dotted name such as `retry.attempts_max` or `upstreams.0.url`."""
    info = field_at(tuple(name.split(".")))
    return " ".join((info.description or "").split()) if info else ""


def field_at(place: tuple[Step, ...]) -> FieldInfo | None:
    """The field at such a place as `("upstreams", 0, "url")`, or that of the list it is in."""
    model: type[BaseModel] = Settings
    found = None
    for step in place:
        if isinstance(step, int) or step.isdigit():
            continue
        found = model.model_fields.get(step)
        if found is None:
            return None
        model = _model_in(found.annotation) or model
    return found


def siblings(place: tuple[Step, ...]) -> set[str]:
    """Dotted names that may stand where an unknown one does."""
    *group, _ = place
    holder = field_at(tuple(group)) if group else None
    model = (_model_in(holder.annotation) if holder else None) or Settings
    prefix = "".join(f"{step}." for step in group)
    return {prefix + name for name in model.model_fields}


def same_name_elsewhere(name: str) -> str | None:
    """`retry.attempts_max` for `attempts_max`: right, but for its table."""
    leaf = name.rpartition(".")[2]
    for field in setting_fields():
        if field.name == leaf and field.group != "upstreams":
            return f"{field.group}.{leaf}" if field.group else leaf
    return None


def is_secret(info: FieldInfo) -> bool:
    """May a value given for it hold a key?"""
    model = _model_in(info.annotation)
    if model is not None:
        return any(is_secret(member) for member in model.model_fields.values())
    return "SecretStr" in repr(info.annotation)


def is_secret_name(name: str) -> bool:
    """As `is_secret`, of a dotted name such as `upstreams.0.api_key`."""
    info = field_at(tuple(name.split(".")))
    return info is not None and is_secret(info)


_KINDS: Final[dict[object, str]] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    SecretStr: "text",
    str: "text",
}


def wanted(info: FieldInfo, *, member: bool = False) -> str:
    """What would be right, such as `a whole number from 1 to 256`; `member`: of its list."""
    kind = _bare(info.annotation)
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        if not member:
            is_table = _model_in(inner) is not None
            return "a list of tables, each with a url" if is_table else 'a list, such as ["…", "…"]'
        kind = _bare(inner)
    if _model_in(kind) is not None:
        return "a table"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"one of {', '.join(str(one.value) for one in kind)}"
    return f"{_KINDS.get(kind, 'text')}{_within(info)}"


def _within(info: FieldInfo) -> str:
    least, most, above = (_bound(info, kind) for kind in ("ge", "le", "gt"))
    if least is not None and most is not None:
        return f" from {least:,} to {most:,}"
    if least is not None:
        return f" of at least {least:,}"
    if above is not None:
        return f" greater than {above:,}" + (f" and at most {most:,}" if most is not None else "")
    return " that is not empty" if _bound(info, "min_length") else ""


def _bound(info: FieldInfo, kind: str) -> float | None:
    return next(
        (bound for one in info.metadata if (bound := getattr(one, kind, None)) is not None), None
    )


def _bare(annotation: object) -> object:
    """Without `Annotated` and `| None`."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    members = [member for member in get_args(annotation) if member is not NoneType]
    if NoneType in get_args(annotation) and len(members) == 1:
        return _bare(members[0])
    return annotation


def _model_in(annotation: object) -> type[BaseModel] | None:
    bare = _bare(annotation)
    if get_origin(bare) is tuple:
        bare = _bare(get_args(bare)[0])
    return bare if isinstance(bare, type) and issubclass(bare, BaseModel) else None
