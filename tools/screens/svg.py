"""Draw frames as SVG: one as it is, several as an animation that every browser plays."""

from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape

from tools.screens.frames import Frame, Run

_CELL_WIDTH: Final = 8.0
_CELL_HEIGHT: Final = 18.0
_MARGIN: Final = 16.0
_BAR_HEIGHT: Final = 28.0
_LAST_FRAME_SECONDS: Final = 4.0

_NAMESPACE: Final = 'xmlns="http://www.w3.org/2000/svg"'
_FONTS: Final = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"

_COLOURS: Final = {
    "default": "#d8dee9",
    "black": "#6b7486",
    "red": "#ff7b72",
    "green": "#7ee787",
    "brown": "#e3b341",
    "blue": "#79c0ff",
    "magenta": "#d2a8ff",
    "cyan": "#76e3ea",
    "white": "#f0f6fc",
}
"""In the terminal emulator's names, in which yellow is brown."""


def drawing(frames: Sequence[Frame], title: str, columns: int) -> str:
    """The whole file. The height is that of the longest frame."""
    rows = max(len(frame.lines) for frame in frames)
    width = columns * _CELL_WIDTH + 2 * _MARGIN
    height = rows * _CELL_HEIGHT + 2 * _MARGIN + _BAR_HEIGHT
    return "\n".join(
        [
            f'<svg {_NAMESPACE} viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img">',
            f"<title>{escape(title)}</title>",
            "<style>",
            f"text {{ font: 13px {_FONTS}; white-space: pre; }}",
            *_animation(frames),
            "</style>",
            f'<rect width="{width:g}" height="{height:g}" rx="8" fill="#161b22"/>',
            *(f'<circle cx="{x}" cy="16" r="5" fill="#3d444d"/>' for x in (18, 36, 54)),
            *_groups(frames),
            "</svg>\n",
        ]
    )


def _animation(frames: Sequence[Frame]) -> Iterator[str]:
    """Each frame is visible for its share of the whole time, and all begin anew together.

    Whoever prefers no motion sees the last one.
    """
    if len(frames) == 1:
        return
    whole = frames[-1].seconds + _LAST_FRAME_SECONDS
    yield f".frame {{ visibility: hidden; animation: {whole:.2f}s step-end infinite; }}"
    ends = [frame.seconds for frame in frames[1:]] + [whole]
    for number, (frame, end) in enumerate(zip(frames, ends, strict=True)):
        start_percent = 0.0 if number == 0 else 100 * frame.seconds / whole
        end_percent = 100 * end / whole
        hidden = " 0% { visibility: hidden; }" if number else ""
        gone = f" {end_percent:.3f}% {{ visibility: hidden; }}" if end < whole else ""
        yield (
            f"@keyframes f{number} {{{hidden}"
            f" {start_percent:.3f}% {{ visibility: visible; }}{gone} }}"
        )
        yield f"#f{number} {{ animation-name: f{number}; }}"
    yield (
        "@media (prefers-reduced-motion) { .frame { animation: none; }"
        f" #f{len(frames) - 1} {{ visibility: visible; }} }}"
    )


def _groups(frames: Sequence[Frame]) -> Iterator[str]:
    for number, frame in enumerate(frames):
        yield f'<g class="frame" id="f{number}">'
        for row, line in enumerate(frame.lines):
            y = _BAR_HEIGHT + _MARGIN + (row + 0.75) * _CELL_HEIGHT
            yield from (_text(run, y) for run in line)
        yield "</g>"


def _text(run: Run, y: float) -> str:
    """`textLength` keeps columns where they are, whatever font there is."""
    lead = len(run.text) - len(run.text.lstrip())
    text = run.text.lstrip()
    x = _MARGIN + (run.column + lead) * _CELL_WIDTH
    colour = _COLOURS.get(run.colour.removeprefix("bright"), f"#{run.colour}")
    weight = ' font-weight="bold"' if run.bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" textLength="{len(text) * _CELL_WIDTH:g}"'
        f' fill="{colour}"{weight}>{escape(text)}</text>'
    )
