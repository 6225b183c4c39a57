"""What a framework's checkpoint really holds, written beside it: each set's tensors, the tree, the optimizers.

Runs where the framework is installed. Everything comes from `torch.load` of the very file, or from the live objects
that it was written from, so that a test elsewhere can compare without the framework and without torch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch


def load(path: Path) -> Any:
    """The checkpoint as its framework loads it."""
    return torch.load(path, map_location="cpu", weights_only=False)


def array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """A tensor's elements; bfloat16 as the bits it has."""
    tensor = tensor.detach()
    elements: np.ndarray[Any, Any] = (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return elements


def write(
    path: Path,
    *,
    layout: str,
    primary: str,
    sets: Mapping[str, Mapping[str, Any]],
    prefixes: Mapping[str, str] | None = None,
    optimizers: Iterable[tuple[str, Mapping[str, Any]]] = (),
    tree: torch.nn.Module | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Writes `<path>.json` and `<path>.npz` for a checkpoint that lies at `path`.

    `sets` map keys as the file has them to tensors; `prefixes` say what a set's keys begin with and the model's own
    names do not. `optimizers` are places in the file and state dicts.
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, tensors in sets.items():
        for key, tensor in tensors.items():
            arrays[f"{name}/{key}"] = array(tensor)
    written = [_optimizer(where, value, arrays) for where, value in optimizers]
    said = {
        "file": path.name,
        "layout": layout,
        "primary": primary,
        "sets": {name: list(tensors) for name, tensors in sets.items()},
        "prefixes": dict(prefixes or {}),
        "optimizers": written,
        "modules": None if tree is None else _tree(tree),
        "metadata": dict(metadata or {}),
    }
    named: dict[str, Any] = {key.replace("/", "|"): value for key, value in arrays.items()}
    np.savez(path.with_name(path.name + ".npz"), **named)
    path.with_name(path.name + ".json").write_text(json.dumps(said))


def _optimizer(where: str, value: Mapping[str, Any], arrays: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    state: dict[str, dict[str, Any]] = {}
    for slot, entries in value["state"].items():
        kept: dict[str, Any] = {}
        for name, item in entries.items():
            if isinstance(item, torch.Tensor):
                arrays[f"{where}/{slot}/{name}"] = array(item)
                kept[name] = "tensor"
            else:
                kept[name] = item
        state[str(slot)] = kept
    groups = [{name: _plain(item) for name, item in group.items()} for group in value["param_groups"]]
    return {"where": where, "groups": groups, "state": state}


def _plain(item: Any) -> Any:
    return list(item) if isinstance(item, tuple) else item


def _tree(root: torch.nn.Module) -> dict[str, Any]:
    names = (
        "training",
        "p",
        "eps",
        "momentum",
        "affine",
        "track_running_stats",
        "in_features",
        "kernel_size",
        "groups",
    )
    return {
        path: {
            "kind": type(module).__name__,
            "package": type(module).__module__,
            "attributes": {
                name: _plain(getattr(module, name))
                for name in names
                if isinstance(getattr(module, name, None), int | float | bool | tuple)
            },
            "children": [name for name, _ in module.named_children()],
            "parameters": [name for name, _ in module.named_parameters(recurse=False)],
            "buffers": [name for name, _ in module.named_buffers(recurse=False)],
            "frozen": sorted(name for name, one in module.named_parameters(recurse=False) if not one.requires_grad),
        }
        for path, module in root.named_modules(remove_duplicate=False)
    }


def begin() -> Path:
    """The folder to write into, from the command line; one thread and fixed seeds from here on."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    return folder
