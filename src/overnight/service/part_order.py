"""Which parts make the file, and in which order: told by their ids, or by their numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from overnight.domain.errors import InvalidRequest
from overnight.domain.upload import Part, Upload


class PartOrder(Protocol):
    """What a client says when it completes an upload. `md5` (hex) is of the whole, if told."""

    @property
    def md5(self) -> str | None: ...

    def choose(self, upload: Upload, parts: Sequence[Part]) -> list[Part]:
        """The parts in their order. Raises `InvalidRequest`."""
        ...

    def is_settled(self, upload: Upload) -> bool:
        """Is it the order that the upload's parts are, or were, joined in?"""
        ...


@dataclass(frozen=True, slots=True)
class OrderOfIds:
    part_ids: Sequence[str]
    md5: str | None = None

    def choose(self, upload: Upload, parts: Sequence[Part]) -> list[Part]:
        if upload.parts_max is not None:
            raise InvalidRequest(f"The parts of {upload.id} go by their numbers.")
        known = {part.id: part for part in parts}
        chosen: list[Part] = []
        for part_id in self.part_ids:
            part = known.pop(part_id, None)
            if part is None:
                why = "is named twice" if part_id in self.part_ids[: len(chosen)] else "is not one"
                raise InvalidRequest(
                    f"'{part_id[:80]}' {why} of the parts of {upload.id}.", param="part_ids"
                )
            chosen.append(part)
        return chosen

    def is_settled(self, upload: Upload) -> bool:
        return tuple(self.part_ids) == upload.part_ids


@dataclass(frozen=True, slots=True)
class OrderOfNumbers:
    """All numbers from 1 on, each with the tag that was answered when its part was put."""

    tags: Mapping[int, str]
    md5: None = None

    def choose(self, upload: Upload, parts: Sequence[Part]) -> list[Part]:
        known = {part.number: part for part in parts}
        wanted = range(1, (upload.parts_max or 0) + 1)
        if missing := [number for number in wanted if number not in known]:
            raise InvalidRequest(
                f"Part {missing[0]} of {len(wanted)} has not been uploaded yet.", param="parts"
            )
        if set(self.tags) != set(wanted):
            raise InvalidRequest(
                f"Name each of the parts 1 to {len(wanted)} once, with its ETag.", param="parts"
            )
        for number, tag in self.tags.items():
            if tag.strip('"') != known[number].sha256:
                raise InvalidRequest(
                    f"Part {number} has the ETag {known[number].sha256}, not '{tag[:80]}'.",
                    param="parts",
                    code="checksum_mismatch",
                )
        return [known[number] for number in wanted]

    def is_settled(self, upload: Upload) -> bool:
        """There is no other order of numbers."""
        return upload.parts_max is not None
