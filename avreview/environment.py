"""What a review ran in: Python, the platform, and the installed versions of the libraries that take part.

None of them is imported, nor `importlib.metadata`, which costs half as much as a review: the version of an installed
distribution stands in the name of its folder, `numpy-2.4.6.dist-info`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from typing import Any

_PACKAGES = ("numpy", "onnx", "onnxruntime", "torch")
# ONNX Runtime is also published under the names of its accelerators; each installs the package `onnxruntime`.
_RUNTIMES = ("onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-qnn", "onnxruntime-rocm")
_INSTALLED = re.compile(r"([A-Za-z0-9_.-]+?)-([0-9][A-Za-z0-9.!+_]{0,60})(?:-py[.0-9]+)?\.(?:dist|egg)-info")


def environment() -> dict[str, Any]:
    """The Python, the platform (system and machine) and the versions of packages, None for what is not installed."""
    found: dict[str, str] = {}
    for folder in sys.path:
        for name, version in _installed(folder or "."):
            found.setdefault(name, version)
    packages: dict[str, str | None] = {name: found.get(name) for name in _PACKAGES}
    packages |= {name: found[name] for name in _RUNTIMES if name in found}
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "implementation": sys.implementation.name,
        "platform": f"{sys.platform} {_machine()}",
        "packages": packages,
    }


def _installed(folder: str) -> Iterator[tuple[str, str]]:
    """The names, in normal form, and versions of what lies in a folder that packages are imported from."""
    try:
        entries = sorted(entry for entry in os.listdir(folder) if entry.endswith("-info"))
    except OSError:  # a zip archive, or a folder that is not there
        return
    for entry in entries:
        match = _INSTALLED.fullmatch(entry)
        if match is not None:
            yield re.sub(r"[-_.]+", "-", match[1]).lower(), match[2]


def _machine() -> str:
    if hasattr(os, "uname"):
        return os.uname().machine
    import platform  # for Windows: takes longer than all the rest

    return platform.machine()
