"""Which optimizer wrote a state_dict, and how its weight decay acts: told by its options, its state, or metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from avreview.artifact import Tensor
from avreview.checkpoint import Optimizer


class OptimizerKind(NamedTuple):
    """`is_adaptive`: each gradient is divided by its own size (Adam's family). `is_decoupled`: the decay acts on the
    weight itself and not through the gradient; None where the file does not tell.
    """

    name: str
    is_adaptive: bool | None = None
    is_decoupled: bool | None = None
    momentum: str | None = None  # the option that holds a momentum that the decay passes through


_UNKNOWN = OptimizerKind("an optimizer of unknown kind")
_NAMED = {
    "adam": OptimizerKind("Adam", True, False),
    "adamw": OptimizerKind("AdamW", True, True),
    "adamax": OptimizerKind("Adamax", True, False),
    "nadam": OptimizerKind("NAdam", True, False),
    "nadamw": OptimizerKind("NAdamW", True, True),
    "radam": OptimizerKind("RAdam", True, False),
    "adagrad": OptimizerKind("Adagrad", True, False),
    "sgd": OptimizerKind("SGD", False, False, "momentum"),
    "rmsprop": OptimizerKind("RMSprop", False, False),
    "lion": OptimizerKind("Lion", False, True),
    "lamb": OptimizerKind("LAMB", False, True),
    "adafactor": OptimizerKind("Adafactor", False, True),
    "adadelta": OptimizerKind("Adadelta", False, False),
    "muon": OptimizerKind("Muon", False, True),
    "musgd": OptimizerKind("MuSGD", False, None),
}
# Options that only one kind has: torch.optim 2.13, timm 1.0, transformers, ultralytics 8.4.
_BY_OPTION = (
    ("use_muon", "musgd"),
    ("ns_steps", "muon"),
    ("dampening", "sgd"),
    ("trust_clip", "lamb"),
    ("grad_averaging", "lamb"),
    ("momentum_decay", "nadam"),
    ("initial_accumulator_value", "adagrad"),
    ("beta2_decay", "adafactor"),
    ("scale_parameter", "adafactor"),
    ("centered", "rmsprop"),
    ("rho", "adadelta"),
    ("correct_bias", "adamw"),
)
_NAMES = re.compile(r"type\s*[=:]\s*['\"]?(?:torch\.optim\.)?(\w+)", re.ASCII)
_CONFIG_OPTIMIZER = re.compile(r"\boptimizer\s*[=:]\s*(?:dict\(|\{)([^{}()]{0,400})")
_OPTION_NAMES = ("optimizer", "optim", "opt", "optimizer_name", "OPTIMIZER", "optimizer_type")
_MOST_TEXT = 1 << 20


def kind_of(optimizer: Optimizer, metadata: Mapping[str, Any]) -> OptimizerKind:
    """The optimizer's kind, by what is surest: the class that the file names, its options, its state, metadata."""
    options = optimizer.groups[0].options if optimizer.groups else {}
    named = _known(optimizer.kind or "")
    found = named or _by_options(optimizer, options)
    if found is None or (found.name in ("Adam", "AdamW") and named is None):
        adam = found is not None
        found = _from_metadata(metadata, adam=adam) or found
    if found is None:
        return _UNKNOWN
    return _with_flag(found, options)


def _by_options(optimizer: Optimizer, options: Mapping[str, Any]) -> OptimizerKind | None:
    for option, name in _BY_OPTION:
        if option in options:
            return _NAMED[name]
    if "betas" not in options:
        return None
    state = next((held for held in optimizer.state.values() if held), {})
    if "exp_inf" in state:
        return _NAMED["adamax"]
    moments = {key for key in ("exp_avg", "exp_avg_sq", "state1", "state2") if isinstance(state.get(key), Tensor)}
    if moments == {"exp_avg"} and "eps" not in options:
        return _NAMED["lion"]
    if "amsgrad" in options or {"exp_avg", "exp_avg_sq"} <= moments:
        plain = "amsgrad" in options or "decoupled_weight_decay" not in options
        return OptimizerKind("Adam" if plain else "RAdam", True, None)
    return None


def _with_flag(kind: OptimizerKind, options: Mapping[str, Any]) -> OptimizerKind:
    """What the options say of decoupling goes before what the name does: `Adam(decoupled_weight_decay=True)`."""
    flag = options.get("decoupled_weight_decay")
    if not isinstance(flag, bool) or not kind.is_adaptive:
        return kind
    name = {("Adam", True): "AdamW", ("AdamW", False): "Adam"}.get((kind.name, flag), kind.name)
    return kind._replace(name=name, is_decoupled=flag)


def _known(text: str) -> OptimizerKind | None:
    """The kind behind a class's or an option's name: `torch.optim.AdamW`, `adamw_torch_fused`, `FusedSGD`."""
    word = text.rpartition(".")[2].lower()
    word = re.sub(r"^(?:fused|deepspeedcpu|cpu|hybrid)", "", word)
    return _NAMED.get(re.split(r"[_\d]", word)[0])


def kind_by_name(name: str, options: Mapping[str, Any]) -> OptimizerKind | None:
    """The kind behind a name with the options given to it; None for one that is not known.

    FusedAdam (apex) and DeepSpeedCPUAdam decouple their decay by default, and have an option of their own for it.
    """
    found = _known(name)
    if found is None:
        return None
    if found.name == "Adam" and re.match(r"(?:fused|deepspeedcpu|hybrid)", name.rpartition(".")[2].lower()):
        flag = next((options[key] for key in _MODES if isinstance(options.get(key), bool)), None)
        return found._replace(is_decoupled=flag)
    return _with_flag(found, options)


_MODES = ("adam_w_mode", "adamw_mode")  # of apex and DeepSpeed


def _from_metadata(metadata: Mapping[str, Any], *, adam: bool) -> OptimizerKind | None:
    """What the training's own settings name; with `adam`, only the two that its state fits."""
    for text in _statements(metadata):
        kind = _known(text)
        if kind is not None and (not adam or kind.name in ("Adam", "AdamW")):
            return kind
    return None


def _statements(metadata: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """Texts of the metadata that name an optimizer: options by that name, and a configuration's `optimizer=dict(…)`."""
    for key, value in list(metadata.items())[:1000]:
        if isinstance(value, Mapping) and key in _OPTION_NAMES and isinstance(value.get("type"), str):
            yield value["type"]
        elif isinstance(value, str) and key in _OPTION_NAMES:
            yield value
        elif isinstance(value, str) and len(value) <= _MOST_TEXT:
            for written in _CONFIG_OPTIMIZER.finditer(value):
                if name := _NAMES.search(written[1]):
                    yield name[1]
        if isinstance(value, Mapping) and depth < 3:
            yield from _statements(value, depth + 1)
