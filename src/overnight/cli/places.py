"""Where commands put files of results: beside each other, and never over what is in the way."""

from pathlib import Path

from overnight.domain.errors import ConfigurationError


def beside(output: Path) -> Path:
    """Where errors go when nobody says it: `answers.jsonl` → `answers.errors.jsonl`.

    Raises `ConfigurationError` if the output can not be where it is to be.
    """
    check_place(output)
    return output.with_name(f"{output.stem}.errors.jsonl")


def check_place(path: Path) -> None:
    """Raises `ConfigurationError` if there can be no plain file of ours."""
    if str(path) == "-":
        raise ConfigurationError("Results can not go to standard output; name a file.")
    if not path.parent.is_dir():
        raise ConfigurationError(f"There is no folder {path.parent} for {path.name}.")
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder; name a file in it.")
    if path.exists() and not path.is_file():
        # Ours appears by rename, which would take the place of the device itself.
        raise ConfigurationError(f"{path} is a device or a pipe; name a file.")


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raises `ConfigurationError` if a file can not be made there."""
    check_place(path)
    if path.exists() and not overwrite:
        refusal = ConfigurationError(f"{path} exists already.")
        refusal.add_note("Replace it with --overwrite, or name another file.")
        raise refusal
