"""What a file is, by its bytes. A suffix is a promise that nobody checked."""

from __future__ import annotations

import codecs
import re

# (offset, bytes, what it is, what to do instead). None of them can begin a ModelProto as any exporter writes it.
_KNOWN = (
    (0, b"\x89HDF", "an HDF5 file (a Keras model?)", "convert it with tf2onnx"),
    # A FlatBuffer begins with a small number in four bytes: two of zeros tell it from a producer of that name.
    (2, b"\0\0TFL3", "a TensorFlow Lite model", "convert it with tf2onnx"),
    (2, b"\0\0ORTM", "a model in ONNX Runtime's own format", "review the .onnx file it was made from"),
    (0, b"ftrt", "a TensorRT engine", "review the .onnx file it was built from"),
    (0, b"ptrt", "a TensorRT engine", "review the .onnx file it was built from"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run `git lfs pull`"),
    (0, b"\x1f\x8b", "gzip-compressed", "unpack it first"),
    (0, b"\xfd7zXZ\0", "xz-compressed", "unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "zstd-compressed", "unpack it first"),
    (0, b"BZh", "bzip2-compressed", "unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (0, b"Rar!\x1a\x07", "a RAR archive", "unpack it first"),
    (257, b"ustar", "a tar archive", "unpack it; a checkpoint from before torch 0.2 has to be saved again"),
    (0, b"PK\x05\x06", "an empty zip archive", "check that it was copied completely"),
    (0, b"\x93NUMPY", "a numpy array", "save the weights as a state_dict with torch.save, or as safetensors"),
    (0, b"GGUF", "a GGUF file", "review the checkpoint it was made from"),
)

_ZIP = b"PK\x03\x04"
_HEADER_LENGTH = 8  # bytes, of safetensors
_LONGEST_HEADER = 1 << 40
# How a pickle of protocol 0 or 1, which has no mark of its own, begins: with what it names, or with a container
_OLD_PICKLE = re.compile(
    rb"\(?[ci][A-Za-z_][\w.]*\r?\n[A-Za-z_][\w.]*\r?\n"  # a function or class
    rb"|\([dlt](p\d+\n|q.|\.)"  # an empty container, kept under a number
    rb"|[\]})]q.|\(lp|\(dp|L\d+L?\n\.",
    re.DOTALL,
)


def foreign(head: bytes) -> tuple[str, str] | None:
    """What a file that begins with `head` is, and what to do about it; None when it may be one that can be read."""
    for offset, magic, what, remedy in _KNOWN:
        if head[offset : offset + len(magic)] == magic:
            return what, remedy
    if is_checkpoint(head) or looks_like_json(head):
        return None
    if head.lstrip()[:1] in (b"<", b"#") or _is_text(head):
        return "a text file", "name the .onnx file or the checkpoint itself"
    return None


def is_zip(head: bytes) -> bool:
    return head[:4] == _ZIP


def is_checkpoint(head: bytes) -> bool:
    """Whether the file is one of those that `load.checkpoint_file` reads."""
    return is_zip(head) or is_pickle(head) or looks_like_safetensors(head)


def is_pickle(head: bytes) -> bool:
    """Whether a pickle begins here: with its protocol, or as those of protocol 0 and 1 begin."""
    return (head[:1] == b"\x80" and head[1:2] <= b"\x05" and len(head) > 1) or bool(_OLD_PICKLE.match(head))


def looks_like_safetensors(head: bytes) -> bool:
    """Whether a JSON object begins behind the eight bytes of its length.

    With an impossible length the object has to begin with a name: such a file is damaged, and still no other.
    """
    if head[_HEADER_LENGTH : _HEADER_LENGTH + 1] != b"{":
        return False
    behind = head[_HEADER_LENGTH + 1 : _HEADER_LENGTH + 2]
    length = int.from_bytes(head[:_HEADER_LENGTH], "little")
    return behind == b'"' or (length < _LONGEST_HEADER and behind in (b"}", b" ", b"\n", b"\t", b"\r"))


def looks_like_json(head: bytes) -> bool:
    return head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{" and _is_text(head)


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # a character may be cut off at the end
    except UnicodeDecodeError:
        return False
    return bool(text) and all(c.isprintable() or c in "\t\r\n" for c in text)
