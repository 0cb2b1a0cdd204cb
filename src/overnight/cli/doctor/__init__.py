"""`overnight doctor`: everything to look at before asking for help, in one go."""

from overnight.cli.doctor.command import doctor

__all__ = ["doctor"]
