"""What a file is, by its bytes. A suffix is a promise that nobody checked."""

from __future__ import annotations

# (offset, bytes, what it is, what to do instead)
_KNOWN = (
    (0, b"PK\x03\x04", "a zip archive (a PyTorch checkpoint?)", "this version reviews ONNX exports; export it to ONNX"),
    (0, b"\x80", "a pickle (a PyTorch checkpoint?)", "this version reviews ONNX exports; export it to ONNX"),
    (0, b"\x89HDF", "an HDF5 file (a Keras model?)", "convert it with tf2onnx"),
    (4, b"TFL3", "a TensorFlow Lite model", "convert it with tf2onnx"),
    (4, b"ORTM", "a model in ONNX Runtime's own format", "review the .onnx file it was made from"),
    (0, b"ftrt", "a TensorRT engine", "review the .onnx file it was built from"),
    (0, b"ptrt", "a TensorRT engine", "review the .onnx file it was built from"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run `git lfs pull`"),
    (0, b"\x1f\x8b", "gzip-compressed", "unpack it first"),
    (8, b'{"', "a safetensors file", "this version reviews ONNX exports; export it to ONNX"),
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
        text = head.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c in "\t\r\n" for c in text)
