"""Lets torchvision be imported where its compiled operators cannot load; import before any framework.

The package index has torchvision for CUDA only, and beside a CPU build of torch its library does not load. Its Python
parts work, but name two operators at import, which must exist for that. Nothing here calls them.
"""

from __future__ import annotations

import importlib.util

import torch

_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")


def declare() -> None:
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        _LIBRARY.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _LIBRARY.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


declare()
