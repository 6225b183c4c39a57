"""What a file is, by its bytes. A suffix is a promise that nobody checked."""

from __future__ import annotations

import codecs

_CHECKPOINT = "this version reviews ONNX exports; export it to ONNX"
# (offset, bytes, what it is, what to do instead). None of them can begin a ModelProto as any exporter writes it.
_KNOWN = (
    (0, b"PK\x03\x04", "a zip archive (a PyTorch checkpoint?)", _CHECKPOINT),
    *((0, bytes((0x80, protocol)), "a pickle (a PyTorch checkpoint?)", _CHECKPOINT) for protocol in range(2, 6)),
    (0, b"\x89HDF", "an HDF5 file (a Keras model?)", "convert it with tf2onnx"),
    # A FlatBuffer begins with a small number in four bytes: two of zeros tell it from a producer of that name.
    (2, b"\0\0TFL3", "a TensorFlow Lite model", "convert it with tf2onnx"),
    (2, b"\0\0ORTM", "a model in ONNX Runtime's own format", "review the .onnx file it was made from"),
    (0, b"ftrt", "a TensorRT engine", "review the .onnx file it was built from"),
    (0, b"ptrt", "a TensorRT engine", "review the .onnx file it was built from"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run `git lfs pull`"),
    (0, b"\x1f\x8b", "gzip-compressed", "unpack it first"),
    (5, b'\0\0\0{"', "a safetensors file", _CHECKPOINT),
)


def foreign(head: bytes) -> tuple[str, str] | None:
    """What a file that begins with `head` is, and what to do about it; None when it may be an ONNX model."""
    for offset, magic, what, remedy in _KNOWN:
        if head[offset : offset + len(magic)] == magic:
            return what, remedy
    if head.lstrip()[:1] in (b"<", b"{", b"#") or _is_text(head):
        return "a text file", "name the .onnx file itself"
    return None


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # a character may be cut off at the end
    except UnicodeDecodeError:
        return False
    return bool(text) and all(c.isprintable() or c in "\t\r\n" for c in text)
