"""An ONNX file without its weights, written anew for a parser that would read them all.

Every message that holds a tensor's elements, directly or deep inside, is written again with shorter lengths; all
other bytes are copied as they are. The work and the memory depend on the graph, not on the weights.
"""

from __future__ import annotations

from avreview.load.wire import BYTES, MAX_DEPTH, VARINT, Buffer, WireError, fields

_WHOLE = 1 << 10  # bytes of a message that is copied whole
_OUTSIDE = b"location"  # the key that external data is found by

# Which fields of a message hold messages with tensors inside. Sparse tensors are kept: their indices are checked.
_INSIDE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {4: "string", 5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
}
_DROPPED = frozenset((1, 3, 4, 5, 6, 7, 9, 10, 11, 13, 14))  # of a tensor: dimensions, elements, where they are
_NO_ELEMENTS = b"\x08\x00"  # dims: [0]


def skeleton(buffer: Buffer) -> bytes:
    """The model in `buffer` with each large or external tensor as one of shape [0], and long strings empty.

    Raises WireError when the bytes are no whole ONNX model.
    """
    changed = _message(buffer, 0, len(buffer), "model", 1)
    return buffer[:] if changed is None else changed


def _message(buffer: Buffer, start: int, end: int, kind: str, depth: int) -> bytes | None:
    """The message in `buffer[start:end]` without weights; None when it stays as it is."""
    if end - start <= _WHOLE and buffer.find(_OUTSIDE, start, end) < 0:
        return None
    if depth > MAX_DEPTH:
        raise WireError(f"messages nested more than {MAX_DEPTH} deep")
    if kind == "string":
        return b""
    if kind == "tensor":
        return _tensor(buffer, start, end)
    inside = _INSIDE[kind]
    parts: list[bytes] = []
    done = before = start  # what is written, and where the field begins
    for number, wire, a, b in fields(buffer, start, end):
        inner = inside.get(number) if wire == BYTES else None
        changed = _message(buffer, a, b, inner, depth + 1) if inner is not None else None
        if changed is not None:
            parts += (buffer[done:before], _varint(number << 3 | BYTES), _varint(len(changed)), changed)
            done = b
        before = b
    if not parts:
        return None
    return b"".join((*parts, buffer[done:end]))


def _tensor(buffer: Buffer, start: int, end: int) -> bytes | None:
    """A tensor that is large or lies outside, empty: whether its elements fit its shape is known already."""
    outside, large = False, end - start > _WHOLE
    kept = [_NO_ELEMENTS]
    before = start
    for number, wire, a, b in fields(buffer, start, end):
        if number == 14 and wire == VARINT:
            outside = a == 1
        elif number not in _DROPPED:
            kept.append(buffer[before:b])
        before = b
    return b"".join(kept) if outside or large else None


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
