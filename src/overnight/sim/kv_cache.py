"""The memory of an engine: fixed blocks of tokens, shared by prompts that begin alike.

As vLLM keeps it (Kwon et al. 2023, arXiv 2309.06180): a full block of a prompt is named by a hash
over all text up to its end, so that equal names mean equal beginnings. A named block that nobody
uses any more stays until its place is needed, the least recently used first.
"""

from collections.abc import Sequence

import xxhash

BLOCK_TOKENS = 16


class KvCache:
    """Counts blocks. `blocks` are used, kept for their name, or blank; their sum never changes."""

    def __init__(self, tokens: int) -> None:
        self.blocks = tokens // BLOCK_TOKENS
        self._blank = self.blocks
        self._users: dict[int, int] = {}
        """By name of a block in use; how many sequences use it."""
        self._kept: dict[int, None] = {}
        """Names of blocks nobody uses, least recently used first."""

    @property
    def available(self) -> int:
        """Blocks that can be taken."""
        return self._blank + len(self._kept)

    @property
    def usage(self) -> float:
        """0 to 1; blocks that are only kept are free, as vLLM counts."""
        return 1 - self.available / self.blocks

    def hits(self, names: Sequence[int]) -> int:
        """How many leading blocks are there already."""
        count = 0
        for name in names:
            if name not in self._users and name not in self._kept:
                break
            count += 1
        return count

    def reserve(self, names: Sequence[int], unnamed: int, *, spare: int = 0) -> bool:
        """Take all these blocks, or none if fewer than `spare` would then be available."""
        lacking = sum(name not in self._users for name in names)
        if lacking + unnamed + spare > self.available:
            return False
        missing = []
        for name in names:
            if name in self._users:
                self._users[name] += 1
            elif name in self._kept:
                del self._kept[name]
                self._users[name] = 1
            else:
                missing.append(name)
        self.take(len(missing) + unnamed)
        self._users.update(dict.fromkeys(missing, 1))
        return True

    def take(self, unnamed: int) -> None:
        """More blocks for what is being written; there must be as many `available`."""
        while self._blank < unnamed:
            del self._kept[next(iter(self._kept))]
            self._blank += 1
        self._blank -= unnamed

    def release(self, names: Sequence[int], unnamed: int) -> None:
        self._blank += unnamed
        for name in reversed(names):  # the end of a prompt is forgotten before its beginning
            self._users[name] -= 1
            if not self._users[name]:
                del self._users[name]
                self._kept[name] = None


def blocks_of(tokens: int) -> int:
    return -(-tokens // BLOCK_TOKENS)


def block_names(prompt: str) -> tuple[int, ...]:
    """Of the full blocks of a prompt, without a block that would hold its very last token.

    The last token is always computed, for the first one of the reply comes out of it.
    """
    words = prompt.split(" ")
    names = []
    name = 0
    for end in range(BLOCK_TOKENS, len(words), BLOCK_TOKENS):
        block = " ".join(words[end - BLOCK_TOKENS : end])
        name = xxhash.xxh3_64_intdigest(block.encode(errors="replace"), name)
        names.append(name)
    return tuple(names)
