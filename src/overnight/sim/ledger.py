"""How often each body was received and whether it was answered, in 11 to 22 bytes per body.

Open-addressed tables of 64-bit slots: 56 bits of the digest and 8 of state. The digest's low byte
chooses one of 256 tables, so all 64 bits count, and a table that grows stops the server for a
moment only. Beyond 25 million bodies new ones are not remembered: each then counts as new.
"""

from array import array

TABLES = 256
FIRST_SLOTS = 64
MAX_SLOTS = 1 << 17
ANSWERED = 0x80
MAX_TIMES = 0x7F


Receipt = tuple[int, bool]
"""How often the body has been received by now, this time included, up to 127; and whether it had
been answered before.
"""


class Ledger:
    def __init__(self) -> None:
        self._tables = [array("Q", bytes(8 * FIRST_SLOTS)) for _ in range(TABLES)]
        self._used = [0] * TABLES

    def receive(self, digest: int) -> Receipt:
        """Count one more time."""
        which = digest & 0xFF
        table = self._tables[which]
        place = _find(table, digest >> 8)
        slot = table[place]
        if slot:
            times = slot & MAX_TIMES
            if times < MAX_TIMES:
                times += 1
                table[place] = slot + 1
            return times, bool(slot & ANSWERED)
        if self._used[which] * 4 >= len(table) * 3:
            if len(table) >= MAX_SLOTS:
                return 1, False
            table = self._tables[which] = _grown(table)
            place = _find(table, digest >> 8)
        table[place] = digest & ~0xFF | 1
        self._used[which] += 1
        return 1, False

    def answer(self, digest: int) -> None:
        """Note that the body has had its success."""
        table = self._tables[digest & 0xFF]
        place = _find(table, digest >> 8)
        if table[place]:
            table[place] |= ANSWERED

    def times_received(self, digest: int) -> int:
        table = self._tables[digest & 0xFF]
        return table[_find(table, digest >> 8)] & MAX_TIMES

    def __len__(self) -> int:
        """Different bodies remembered."""
        return sum(self._used)


def _find(table: "array[int]", fingerprint: int) -> int:
    """The slot that holds the fingerprint, or the free one where it belongs."""
    mask = len(table) - 1
    place = fingerprint & mask
    while (slot := table[place]) and slot >> 8 != fingerprint:
        place = (place + 1) & mask
    return place


def _grown(table: "array[int]") -> "array[int]":
    larger = array("Q", bytes(16 * len(table)))
    for slot in table:
        if slot:
            larger[_find(larger, slot >> 8)] = slot
    return larger
