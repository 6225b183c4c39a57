"""Pickles inside a pickle: bytes that its loader would hand to another loader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avreview.checkpoint import NamedCode

if TYPE_CHECKING:
    from avreview.load.pickles.state import Machine

_MOST = 5  # pickles in a row: with so many a legacy checkpoint begins, and its storages follow


def names_inside(raw: bytes, m: Machine) -> list[NamedCode] | None:
    """The code named by the pickles that `raw` begins with; [] for bytes that were read before.

    None when they cannot be read as the checkpoint's loader would read them. Each level of nesting is read with
    half the opcodes of the one above, and with the memory that it has left.
    """
    from avreview.load.pickles.machine import PickleError, unpickle

    if id(raw) in m.inside:
        return []
    m.inside[id(raw)] = raw
    limits = m.limits._replace(opcodes=m.limits.opcodes // 2, memory=max(m.room, 0))
    known = {f"{module}.{name}" for module, name in m.builders}
    found: list[NamedCode] = []
    end = 0
    for _ in range(_MOST):
        try:
            # Without builders, which would miss what the persistent ids stand for
            read = unpickle(raw, end, file=m.file, persistent=lambda key: None, limits=limits)
        except PickleError:
            return None
        found += [code for code in read.code if code.name not in known]
        end = read.end
        if end == len(raw):
            break
    m.check_time()
    return found
