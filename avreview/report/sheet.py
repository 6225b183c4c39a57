"""A sheet of Markdown with so much room and no more."""

from __future__ import annotations

from collections import Counter

from avreview.report.page import in_ascii


class Sheet:
    """Blocks of Markdown, each taken whole or left out."""

    def __init__(self, room: int, *, unicode: bool) -> None:
        self.blocks: list[str] = []
        self.left_out: Counter[str] = Counter()
        self.room = room
        self._unicode = unicode

    def fit(self, block: str) -> str:
        return block if self._unicode else in_ascii(block)

    def fits(self, block: str, keep: int = 0) -> bool:
        """Whether the block can be taken with `keep` characters left beside it."""
        return len(self.fit(block)) + 1 + keep <= self.room

    def put(self, block: str, name: str = "", *, keep: int = 0) -> bool:
        """Takes the block if `keep` characters are left beside it; or else notes that `name` was left out."""
        block = self.fit(block)
        if len(block) + 1 + keep > self.room:
            self.left_out[name] += 1
            return False
        self.blocks.append(block)
        self.room -= len(block) + 1
        return True
