"""What the person who opens a checkpoint asks for, handed to every loader."""

from __future__ import annotations

from typing import NamedTuple

MEMORY = 1 << 30  # bytes that a checkpoint's structure may take, unless a person says otherwise


class OpenContext(NamedTuple):
    """`weights` is the set asked for, None for the file's primary one; `memory` how many bytes loading may take."""

    weights: str | None = None
    memory: int = MEMORY
