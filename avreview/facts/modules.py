"""The source module that each node came from, as its exporter recorded it."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from avreview.artifact import Node
from avreview.engine.review import Location

_SCOPES = "pkg.torch.onnx.name_scopes"  # the PyTorch 2 exporter: "['', 'neck', 'neck.bn3', 'batch_norm']"
_LONGEST_SCOPES = 16_384  # characters; real ones have some hundreds, and parsing takes two seconds a megabyte
# What ONNX Runtime writes in front of a name when it folds what follows a convolution into it.
_FUSION = re.compile(r"(?:Conv(?:Bn|Mul|Add)Fusion_(?:[A-Za-z]{1,3}_)?[BW]_)+")
# What ONNX Runtime puts around the name of a node that it fuses with another.
_FUSED_NODE = re.compile(r"^fused |(?:/{1,2}[A-Za-z]{1,40}Fusion)+/?$")
_PARAMETERS = (".weight", ".bias", ".running_mean", ".running_var", ".weight_quantized", ".kernel", ".gamma", ".beta")


class ModuleNode(Node):
    """A node drawn for a module of a checkpoint: it has that module's path and no name of its own."""

    __slots__ = ("module",)

    def __init__(
        self, module: str, op: str, attributes: Mapping[str, Any], inputs: tuple[str, ...], output: str
    ) -> None:
        super().__init__(op, "", "", inputs, (output,), attributes, version=20)
        self.module = module

    @property
    def label(self) -> str:
        return self.module


def module_path(node: Node) -> str | None:
    """The dotted path of the module that `node` was written for, or None where the file does not tell.

    From the PyTorch 2 exporter's metadata, or from node paths: TorchScript's `/neck/neck.bn3/BatchNormalization`,
    TensorFlow's `model/dense/MatMul`.
    """
    if isinstance(node, ModuleNode):
        return node.module or None
    scopes = node.metadata.get(_SCOPES)
    if scopes:
        return _from_scopes(scopes)
    return _from_name(node.name)


def _from_scopes(scopes: str) -> str | None:
    if len(scopes) > _LONGEST_SCOPES:
        return None
    try:
        names = ast.literal_eval(scopes)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return next((name for name in reversed(names[:-1]) if name), None)


def _from_name(name: str) -> str | None:
    name = _FUSED_NODE.sub("", name)
    if "/" not in name:
        return None
    if not name.startswith("/"):
        return name.rsplit("/", 1)[0]
    path = ""
    previous = ""
    for part in map(_first_call, name.split("/")[1:-1]):
        # TorchScript repeats a container's name in its child's: `layer1/layer1.0/conv` is layer1.0.conv.
        if previous and part.startswith(f"{previous}."):
            path = path[: len(path) - len(previous)] + part
        else:
            path = f"{path}.{part}" if path else part
        previous = part
    return path or None


def _first_call(part: str) -> str:
    """TorchScript counts further calls of a shared module, `heads.0_1`: told from a module's own name by its index."""
    head, dot, last = part.rpartition(".")
    index, _, call = last.partition("_")
    return f"{head}{dot}{index}" if index.isdecimal() and call.isdecimal() else part


def parameter_module(name: str) -> str | None:
    """The module that a state_dict key such as `backbone.0.conv.weight` belongs to; None for other names."""
    name = _FUSION.sub("", name)
    for suffix in _PARAMETERS:
        if name.endswith(suffix) and len(name) > len(suffix) and "::" not in name:
            return name[: -len(suffix)]
    return None


def locate(artifact: str, node: Node, module: str | None = None, tensor: str | None = None) -> Location:
    """Where a node is, for a finding."""
    return Location(
        artifact,
        node=None if isinstance(node, ModuleNode) else node.label,
        module=module or module_path(node),
        tensor=tensor,
    )
