"""What people want to know of a file before they send it, beyond whether it is right."""

from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from xxhash import xxh3_64_intdigest

from overnight.domain.line import CheckedLine
from overnight.service.duplicates import IdDigests

BYTES_PER_TOKEN: Final = 4
"""What a token is taken for: about right for English, and for other scripts not far off."""


class _Part(msgspec.Struct, gc=False):
    text: str = ""


class _Message(msgspec.Struct, gc=False):
    content: str | list[_Part] | None = None


_Texts = str | list[str | int | list[int]] | None


class _Prompt(msgspec.Struct, gc=False):
    messages: list[_Message] = []
    prompt: _Texts = None
    input: _Texts = None


_decode_prompt: Final = msgspec.json.Decoder(_Prompt).decode


class Survey:
    """Looks at every good line, at the price of reading its texts; keeps 8 bytes of each."""

    def __init__(self, digest: Callable[[bytes], int] = xxh3_64_intdigest) -> None:
        self.longest_line = 0
        """Its number; 0 when there was none."""
        self.longest_line_bytes = 0
        self._prompt_bytes = 0
        self._prompt_ids = 0
        self._bodies = IdDigests(digest)

    def look_at(self, number: int, line: bytes, checked: CheckedLine) -> None:
        if len(line) > self.longest_line_bytes:
            self.longest_line, self.longest_line_bytes = number, len(line)
        body = line[checked.body_offset : checked.body_offset + checked.body_bytes]
        self._bodies.add((body,))
        for text in _texts(body):
            if isinstance(text, str):
                self._prompt_bytes += len(text) if text.isascii() else len(text.encode())
            else:
                self._prompt_ids += 1

    @property
    def prompt_tokens(self) -> int:
        """An estimate: UTF-8 bytes of the texts / `BYTES_PER_TOKEN`, and ids of tokens as one."""
        return self._prompt_bytes // BYTES_PER_TOKEN + self._prompt_ids

    def repeated_bodies(self) -> int:
        """How many requests have the body of an earlier one, byte by byte. To be asked once."""
        return self._bodies.count_repeats()


def _texts(body: bytes) -> Iterator[str | int]:
    """What the model reads of a body: texts, or ids of tokens. Nothing of what is odd."""
    try:
        prompt = _decode_prompt(body)
    except (msgspec.ValidationError, RecursionError):
        # The checker, which took it, had some more of the stack left.
        return
    for message in prompt.messages:
        if isinstance(message.content, str):
            yield message.content
        elif message.content is not None:
            yield from (part.text for part in message.content)
    for texts in (prompt.prompt, prompt.input):
        if isinstance(texts, str):
            yield texts
        elif texts is not None:
            for text in texts:
                yield from text if isinstance(text, list) else (text,)
