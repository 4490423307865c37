"""Number the connections of a capture in order of appearance, by the keys of their packets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from certhash.capture.first_pass.packets import Words
    from certhash.capture.first_pass.pcap import Ints


class FlowTable:
    """A hash table that numbers 64-bit keys 0, 1, 2... in order of appearance.

    A key is never 0.  The table takes 24 to 48 bytes per connection.
    """

    def __init__(self) -> None:
        self.count = 0
        self._keys: Words = np.zeros(1 << 12, np.uint64)
        self._numbers: Ints = np.zeros(1 << 12, np.int64)

    def number(self, keys: Words) -> Ints:
        """Return the number of each key; new keys get the next ones."""
        numbers = self.known(keys)
        unknown = np.flatnonzero(numbers < 0)
        if not len(unknown):
            return numbers
        # Group equal keys, and find the first of each; np.unique does the same, but imports more modules.
        order = np.argsort(keys[unknown], kind="stable")
        ordered = keys[unknown][order]
        places = np.sort(unknown[order[np.append(True, ordered[1:] != ordered[:-1])]])
        self._add(keys[places], np.arange(self.count, self.count + len(places)))
        self.count += len(places)
        numbers[unknown] = self.known(keys[unknown])
        return numbers

    def renew(self, key: np.uint64) -> int:
        """Assign the next number to a key that already has one."""
        mask = len(self._keys) - 1
        slot = int(key) & mask
        while self._keys[slot] != key:
            slot = slot + 1 & mask
        self._numbers[slot] = self.count
        self.count += 1
        return self.count - 1

    def _slots(self, keys: Words) -> Ints:
        return (keys & np.uint64(len(self._keys) - 1)).astype(np.int64)

    def known(self, keys: Words) -> Ints:
        """Return the number of each key, or -1 if it has not appeared."""
        mask = len(self._keys) - 1
        slots = self._slots(keys)
        held = self._keys[slots]
        numbers = np.where(held == keys, self._numbers[slots], -1)
        looking = np.flatnonzero((held != keys) & (held != 0))
        while len(looking):
            slots[looking] = slots[looking] + 1 & mask
            held = self._keys[slots[looking]]
            hit = held == keys[looking]
            numbers[looking[hit]] = self._numbers[slots[looking[hit]]]
            looking = looking[~hit & (held != 0)]
        return numbers

    def _add(self, keys: Words, numbers: Ints) -> None:
        if 2 * (self.count + len(keys)) > len(self._keys):
            used = np.flatnonzero(self._keys)
            keys = np.concatenate((self._keys[used], keys))
            numbers = np.concatenate((self._numbers[used], numbers))
            size = 1 << (4 * len(keys)).bit_length()
            self._keys = np.zeros(size, np.uint64)
            self._numbers = np.zeros(size, np.int64)
        mask = len(self._keys) - 1
        slots = self._slots(keys)
        looking = np.arange(len(keys))
        while len(looking):
            # If several keys compete for a slot, the last one written gets it, and the others continue.
            free = self._keys[slots[looking]] == 0
            wanting = looking[free]
            self._keys[slots[wanting]] = keys[wanting]
            won = np.zeros(len(looking), bool)
            won[free] = self._keys[slots[wanting]] == keys[wanting]
            placed = looking[won]
            self._numbers[slots[placed]] = numbers[placed]
            looking = looking[~won]
            slots[looking] = slots[looking] + 1 & mask
