"""Batch inference that you run yourself."""

from importlib.metadata import version

__version__ = version("overnight")
