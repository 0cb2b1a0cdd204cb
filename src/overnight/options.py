"""Settings, turned into the options of the parts that send requests."""

import asyncio
from collections.abc import Callable

from overnight.dispatch.dispatcher import DispatchOptions
from overnight.dispatch.http1 import Timeouts
from overnight.dispatch.lane import LaneOptions
from overnight.dispatch.target import Target
from overnight.settings import Settings, UpstreamSettings


def lane_options(upstream: UpstreamSettings, settings: Settings) -> LaneOptions:
    """What may be sent to an upstream, and how; a lane of several takes its share of it."""
    key = upstream.api_key.get_secret_value() if upstream.api_key else None
    timeouts = settings.timeouts
    return LaneOptions(
        target=Target.parse(upstream.url, key),
        max_in_flight=upstream.max_in_flight,
        lanes=upstream.lanes,
        models=frozenset(upstream.models) or None,
        timeouts=Timeouts(
            timeouts.connect_seconds,
            timeouts.first_byte_seconds,
            timeouts.idle_seconds,
            timeouts.reply_seconds,
        ),
        reply_bytes_max=settings.limits.reply_bytes_max,
    )


def dispatch_options(settings: Settings) -> DispatchOptions:
    return DispatchOptions(
        retry=settings.retry.policy(), replies_bytes_max=settings.limits.replies_bytes_max
    )


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it installs: it makes a request a fifth cheaper."""
    try:
        import uvloop  # noqa: PLC0415  not everywhere
    except ImportError:
        return None
    return uvloop.new_event_loop
