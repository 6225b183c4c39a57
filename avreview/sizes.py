"""Sizes as a person writes them."""

from __future__ import annotations

from avreview.errors import UsageError

_UNITS = {
    "": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30,
}  # fmt: skip


def byte_size(text: str) -> int:
    """`2GB` as a number of bytes. Raises UsageError for what is no size."""
    digits = text.rstrip("KMGIBkmgib")
    unit = _UNITS.get(text[len(digits) :].upper())
    digits = digits.rstrip()
    if unit is None or not digits.isascii() or not digits.isdecimal() or len(digits) > 15 or not int(digits):
        raise UsageError(f"{text!r} is not a size such as 512MB or 2GB")
    return int(digits) * unit
