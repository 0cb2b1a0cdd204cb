"""How an API is spelt. Below `api` a dialect is only a name, kept for a key or configured."""

from enum import StrEnum


class Dialect(StrEnum):
    """The values are the path prefixes."""

    OPENAI = "openai"
    TOGETHER = "together"
