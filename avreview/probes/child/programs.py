"""Exported programs (.pt2) as live modules, without the code that such a file can smuggle in.

`torch.export.load` unpickles what it finds, evaluates size expressions as Python, and looks up operators by their
dotted path in `torch`, whatever they are. So the program is read first, and refused where it holds anything but
tensors, sizes, and operators of torch's registry.
"""

from __future__ import annotations

import contextlib
import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from avreview.load.wording import quoted
from avreview.probes.child.refusal import Refused

_OPERATOR = re.compile(
    r"(?:torch\.ops(?:\.(?!_?_)\w+){2,3}"  # torch.ops.aten.conv2d.default
    r"|_operator\.[a-z]\w*|math\.[a-z]\w*|torch\._?sym_\w+)"
)
_CALLS_BY_NAME = frozenset({"_operator.attrgetter", "_operator.methodcaller"})
# What sympy prints of a size, `Add(Symbol('s40', positive=True), Integer(1))` or `2*s0`: no attributes, no other calls.
_EXPRESSION = re.compile(
    r"(?:[\s\d+\-*/()<>=,&|~]|\d\.\d|'[\w.+-]*'|\b(?:[suz]\w*\d|[A-Z]\w*|oo|and|or|not)\b|\b[a-z]\w*=(?!=))*"
)
_TENSORS = ("weight_", "tensor_")  # how members with tensors are called
_LARGEST = 512 << 20  # bytes of one JSON member


def load_program(path: str) -> Any:
    """The module of an exported program. Raises Refused, or what torch raises."""
    import torch

    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len({entry.filename for entry in entries}) < len(entries):
            raise Refused("the exported program holds two members of one name")
        for entry in entries:
            if entry.filename.endswith(".json"):
                if entry.file_size > _LARGEST:
                    raise Refused(f"the exported program's {quoted(entry.filename)} is too large to be checked")
                with contextlib.suppress(
                    ValueError
                ):  # older versions call tensors so; torch does not read them as JSON
                    _vet(json.loads(archive.read(entry)))
    with _tensors_only():
        return torch.export.load(path).module()


def _vet(content: Any) -> None:
    """Raises Refused for an operator that is none, or an expression that is more than arithmetic."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            target, text = value.get("target"), value.get("expr_str")
            is_node = "inputs" in value or "outputs" in value
            known = isinstance(target, str) and _OPERATOR.fullmatch(target) and target not in _CALLS_BY_NAME
            if is_node and isinstance(target, str) and not known:
                raise Refused(f"the exported program calls {quoted(target)}, which is no operator of torch's")
            if isinstance(text, str) and not _EXPRESSION.fullmatch(text):
                raise Refused(f"the exported program holds the expression {quoted(text)}, which is more than a size")
            if isinstance(payload := value.get("path_name"), str) and not payload.startswith(_TENSORS):
                raise Refused("the exported program holds pickled objects, which are not loaded; give a factory")
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


@contextlib.contextmanager
def _tensors_only() -> Iterator[None]:
    """While it lasts, torch unpickles tensors and nothing else."""
    import torch

    load = torch.load

    def tensors(*arguments: Any, **options: Any) -> Any:
        return load(*arguments, **{**options, "weights_only": True})

    torch.load = tensors
    try:
        yield
    finally:
        torch.load = load
