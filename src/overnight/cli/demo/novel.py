"""Six hundred requests out of a novel; ORIGIN.md beside it says where it is from."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

TITLE: Final = "Pride and Prejudice"
AUTHOR: Final = "Jane Austen"
YEAR: Final = 1813

_TEXT_NAME: Final = "pride_and_prejudice.txt"
_CHAPTER: Final = "Chapter "
_TASK: Final = (
    f"You read “{TITLE}” by {AUTHOR}, one paragraph at a time. "
    "Say in one sentence what happens. This one is from chapter {}."
)


@dataclass(frozen=True, slots=True)
class Paragraph:
    chapter: int
    number: int
    """Counted from 1 in each chapter."""
    text: str
    """On one line."""

    @property
    def custom_id(self) -> str:
        return f"chapter-{self.chapter:02}-paragraph-{self.number:02}"

    def request(self, model: str) -> bytes:
        """A line of an input file. No two bodies are the same."""
        messages = [
            {"role": "system", "content": _TASK.format(self.chapter)},
            {"role": "user", "content": self.text},
        ]
        line = {
            "custom_id": self.custom_id,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": model, "messages": messages},
        }
        return json.dumps(line, ensure_ascii=False).encode() + b"\n"


def paragraphs() -> Iterator[Paragraph]:
    text = files(__package__).joinpath(_TEXT_NAME).read_text("utf-8")
    chapter = number = 0
    for block in text.split("\n\n"):
        if block.startswith(_CHAPTER):
            chapter, number = int(block.removeprefix(_CHAPTER)), 0
        else:
            number += 1
            yield Paragraph(chapter, number, " ".join(block.split()))
