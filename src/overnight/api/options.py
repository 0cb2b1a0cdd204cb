"""What the operator decides about the API."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """`public_url` is where clients reach us, if not where their `Host` header says.

    `open_mode` asks for no key. `loopback_only` then takes callers from this machine alone, and
    of the browsers among them only pages that come from this machine too; without it anybody
    who reaches the port is let in.
    """

    api_keys: tuple[str, ...] = ()
    public_url: str | None = None
    open_mode: bool = True
    loopback_only: bool = True
