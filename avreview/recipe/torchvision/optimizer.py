"""What a Python file says literally of its optimizer: `torch.optim.AdamW(model.parameters(), lr=1e-3)`."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from avreview.recipe.model import Place, RecipeOptimizer, Setting, Unread
from avreview.recipe.torchvision.hints import UNREAD, dotted, literal

_OPTIM = "torch.optim."
_DEFAULT_DECAY = {  # of torch.optim, the same in every version
    "SGD": 0.0, "Adam": 0.0, "AdamW": 0.01, "NAdam": 0.0, "RAdam": 0.0, "Adamax": 0.0, "RMSprop": 0.0, "Adagrad": 0.0,
    "Adadelta": 0.0,
}  # fmt: skip
_SCHEDULES = {
    "CosineAnnealingLR": "cosine", "CosineAnnealingWarmRestarts": "cosine", "OneCycleLR": "onecycle",
    "StepLR": "step", "MultiStepLR": "step", "ExponentialLR": "exponential", "LinearLR": "linear",
    "PolynomialLR": "polynomial", "ConstantLR": "constant",
}  # fmt: skip


def optimizer(
    tree: ast.Module, names: Mapping[str, str], known: Mapping[str, Any], path: str
) -> tuple[RecipeOptimizer | None, list[Unread]]:
    """The file's one optimizer. Several, for parts of a model or for a choice of the person's, are none."""
    calls = [
        (call, name.removeprefix(_OPTIM)) for call, name in _calls(tree, names)
        if name.startswith(_OPTIM) and name.removeprefix(_OPTIM) in _DEFAULT_DECAY
    ]  # fmt: skip
    if len(calls) > 1:
        return None, [Unread("the optimizer", "is one of several in this file", Place(path, calls[1][0].lineno))]
    if not calls:
        return None, []
    call, name = calls[0]
    at = Place(path, call.lineno)
    options = {one.arg: literal(one.value, known) for one in call.keywords if one.arg is not None}
    if len(call.args) > 1:
        options.setdefault("lr", literal(call.args[1], known))
    unread = [
        Unread(key, "is put together by code", at)
        for key, value in options.items()
        if value is UNREAD and key != "params"
    ]
    has_unknown = any(one.arg is None for one in call.keywords)  # **options
    decay = _number(options.get("weight_decay"))
    if "weight_decay" not in options and not has_unknown:
        decay = _DEFAULT_DECAY[name]
    everything = _is_all_parameters(call)
    if not everything:
        unread.append(Unread("the parameter groups", "are put together by code", at))
    decays = dict.fromkeys(("bias", "norm", "embedding"), True if everything else None)
    rate = _number(options.get("lr"))
    momentum = _number(options.get("momentum"))
    found = RecipeOptimizer(
        name,
        at,
        None if rate is None else Setting(rate, at),
        None if decay is None or not everything else Setting(decay, at),
        None if momentum is None else Setting(momentum, at),
        decays=decays,
        options={key: value for key, value in options.items() if value is not UNREAD},
    )
    return found, unread


def schedule(tree: ast.Module, names: Mapping[str, str], path: str) -> Setting | None:
    """The one schedule of the rate."""
    found = [
        Setting(_SCHEDULES[last], Place(path, call.lineno))
        for call, name in _calls(tree, names)
        if name.startswith(f"{_OPTIM}lr_scheduler.") and (last := name.rpartition(".")[2]) in _SCHEDULES
    ]
    return found[0] if len(found) == 1 else None


def sync_norm(tree: ast.Module, names: Mapping[str, str], path: str) -> Setting | None:
    """Whether norms are converted to synchronized ones; a file that does not convert them tells nothing."""
    for call, name in _calls(tree, names):
        if name.endswith("SyncBatchNorm.convert_sync_batchnorm"):
            return Setting(True, Place(path, call.lineno))
    return None


def _calls(tree: ast.Module, names: Mapping[str, str]) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (name := dotted(node.func, names)):
            yield node, name


def _is_all_parameters(call: ast.Call) -> bool:
    """Whether it is given `model.parameters()`: all of them, in one group, decayed alike."""
    first = call.args[0] if call.args else next((one.value for one in call.keywords if one.arg == "params"), None)
    return (
        isinstance(first, ast.Call)
        and isinstance(first.func, ast.Attribute)
        and first.func.attr == "parameters"
        and not first.args
        and not first.keywords
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
