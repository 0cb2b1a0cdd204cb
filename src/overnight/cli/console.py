"""Standard output for people: Rich on a terminal, and not one control character elsewhere."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def standard_output() -> "Console":
    """Lines are never broken by it; who wants them to fit asks for its `width`."""
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704  Rich would exit with 1: every command of ours ends alike.

    output = Output(highlight=False, soft_wrap=True, emoji=False, markup=False)
    if output.no_color:
        # NO_COLOR takes away only colours; bold and dim are no more welcome in a log.
        output = Output(
            highlight=False, soft_wrap=True, emoji=False, markup=False, color_system=None
        )
    return output
