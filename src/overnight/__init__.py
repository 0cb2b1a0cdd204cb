"""Batch inference that you run yourself."""


def __getattr__(name: str) -> str:
    """`__version__`, read when it is wanted: help is quicker without."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version  # noqa: PLC0415

    return version("overnight")
