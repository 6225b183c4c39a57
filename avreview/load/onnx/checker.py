"""onnx's own checker on the file at a path. For a child process: it is native code, and hangs or crashes on some."""

from __future__ import annotations

import mmap
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import Any

from avreview.load.onnx.skeleton import skeleton
from avreview.load.wire import WireError

_LONGEST = 10_000  # characters of a complaint


def complaint(path: str) -> str | None:
    """What `onnx.checker.check_model` says against the model, or None. Weights are left out and never read."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
        try:
            model = skeleton(buffer)
        except WireError as error:
            return str(error)
    try:
        _check(model)
    except MemoryError:
        raise
    except Exception as error:
        return str(error)[:_LONGEST]
    return None


def _check(model: bytes) -> None:
    try:
        _native().checker.check_model(model, False, False, False)
    except (ImportError, AttributeError, TypeError):  # another version of onnx: by its front door
        import onnx.checker

        onnx.checker.check_model(model)


def _native() -> Any:
    """onnx's extension module alone: with the package around it comes numpy, and six times the start-up."""
    package = PathFinder.find_spec("onnx")
    places = package.submodule_search_locations if package is not None else None
    spec = PathFinder.find_spec("onnx_cpp2py_export", places) if places is not None else None
    if spec is None or spec.loader is None:
        raise ImportError("onnx has no extension module where it used to be")
    spec.name = "onnx.onnx_cpp2py_export"
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
