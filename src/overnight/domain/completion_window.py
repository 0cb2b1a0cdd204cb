"""How long a job may take, as clients write it: `24h`, and where it is allowed any other time."""

import re
from typing import Final

DEFAULT_WINDOW: Final = "24h"
"""What the official clients send, or mean when they send nothing."""

WINDOW_SECONDS_MIN: Final = 3_600
WINDOW_SECONDS_MAX: Final = 14 * 86_400

_UNIT_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400}
_WINDOW: Final = re.compile(r"([0-9]{1,6})([mhd])")


def window_seconds(window: str) -> int | None:
    """The length of a window such as `90m`, `36h` or `7d`; None for what is none, or not between
    one hour and fourteen days.
    """
    match = _WINDOW.fullmatch(window)
    if match is None:
        return None
    seconds = int(match[1]) * _UNIT_SECONDS[match[2]]
    return seconds if WINDOW_SECONDS_MIN <= seconds <= WINDOW_SECONDS_MAX else None
