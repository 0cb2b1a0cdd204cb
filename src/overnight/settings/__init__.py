"""Everything that can be configured, and where each value came from.

A value is looked for in the flags of the command, then in the environment (`OVERNIGHT_…`), then
in a TOML file, then in the model's defaults. The names are the same in all three; a group's
member is spelt `OVERNIGHT_RETRY__ATTEMPTS_MAX` in the environment and `[retry] attempts_max` in
TOML. Nothing else reads settings from the environment; the client commands read where their
server is, and what draws asks for `TERM` and `NO_COLOR`.
"""

from overnight.settings.loading import DEFAULT_CONFIG, ENVIRONMENT_PREFIX, Loaded, load
from overnight.settings.model import (
    DEFAULT_PORT,
    Assignment,
    LimitSettings,
    RetrySettings,
    Settings,
    TimeoutSettings,
    UpstreamSettings,
    checked_base_url,
    checked_upstream_url,
)

__all__ = [
    "DEFAULT_CONFIG",
    "DEFAULT_PORT",
    "ENVIRONMENT_PREFIX",
    "Assignment",
    "LimitSettings",
    "Loaded",
    "RetrySettings",
    "Settings",
    "TimeoutSettings",
    "UpstreamSettings",
    "checked_base_url",
    "checked_upstream_url",
    "load",
]
