"""What a review ran in: Python, the platform, and the installed versions of the libraries that take part.

None of them is imported, nor `importlib.metadata`, which costs half as much as a review: the version of an installed
distribution stands in the name of its folder, `numpy-2.4.6.dist-info`.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from avreview.engine.distributions import distributions

_PACKAGES = ("numpy", "onnx", "onnxruntime", "torch")
# ONNX Runtime is also published under the names of its accelerators; each installs the package `onnxruntime`.
_RUNTIMES = ("onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-qnn", "onnxruntime-rocm")
_VERSION = re.compile(r"([a-z0-9-]+?)-([0-9][A-Za-z0-9.!+_]{0,60})(?:-py[.0-9]+)?")  # eggs name their Python as well


def environment() -> dict[str, Any]:
    """The Python, the platform (system and machine) and the versions of packages, None for what is not installed."""
    found: dict[str, str] = {}
    for entry in distributions():
        match = _VERSION.fullmatch(entry)
        if match is not None:
            found[match[1]] = match[2]
    packages: dict[str, str | None] = {name: found.get(name) for name in _PACKAGES}
    packages |= {name: found[name] for name in _RUNTIMES if name in found}
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "implementation": sys.implementation.name,
        "platform": f"{sys.platform} {_machine()}",
        "packages": packages,
    }


def _machine() -> str:
    if hasattr(os, "uname"):
        return os.uname().machine
    import platform  # for Windows: takes longer than all the rest

    return platform.machine()
