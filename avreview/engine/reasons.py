"""Why a rule was not assessed at all: what the review lacks that its card asks for, and what would supply it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from avreview.engine.cards import Card

# The words of a card's `needs`, as a reason says them.
SUPPLIES = {
    "graph": "an ONNX export",
    "weights": "a model with its weights",
    "module-tree": "a PyTorch module tree",
    "optimizer-state": "optimizer state from a training checkpoint",
    "pretrained-base": "the pretrained base",
    "checkpoint": "a checkpoint",
    "recipe": "the training recipe",
    "manifests": "the lists of what each split holds",
    "running": "running the model",
    "reference-model": "a reference PyTorch model",
    "input-data": "input data",
    "augmentation": "running the augmentation",
    "modality": "the input's modality",
}


class _Supply(NamedTuple):
    """What a person has to give, and how."""

    noun: str
    option: str


_CHECKPOINT = _Supply("a training checkpoint", "--checkpoint")
_SOURCE = _Supply("the checkpoint that the export was made from", "--checkpoint")
_RUN = _Supply("the model to be run, which has to be asked for", "--probe")
# What is given beside the model, by the words of `needs`, in the order in which a reason names them.
_SUPPLIES = {
    "optimizer-state": _CHECKPOINT,
    "module-tree": _CHECKPOINT,
    "checkpoint": _CHECKPOINT,
    "pretrained-base": _Supply("the pretrained base", "--pretrained"),
    "recipe": _Supply("the training recipe", "--recipe"),
    "manifests": _Supply("the lists of what each split holds", "--manifest train=FILE --manifest val=FILE"),
    "augmentation": _Supply("the augmentation to be run", "--augment pkg.module:factory"),
    "running": _RUN,
    "reference-model": _RUN._replace(option="--probe with --reference"),
    "input-data": _RUN._replace(option="--probe with --inputs"),
}


def planned(card: Card) -> str:
    """Of a rule that this version only knows."""
    ways = [" and ".join(SUPPLIES[word] for word in way) for way in card.needs]
    return f"needs {', or '.join(ways)}, which this version of avreview cannot use yet"


def unsupplied(card: Card) -> str:
    """Of a rule whose checks were left out, because the review lacks all that could decide it."""
    ways = list(dict.fromkeys(tuple(_wanted(way)) for way in card.needs))
    ways = [way for way in ways if way and not any(set(other) < set(way) for other in ways)]
    nouns = [" and ".join(dict.fromkeys(supply.noun for supply in way)) for way in ways]
    options = [" and ".join(_longest(supply.option for supply in way)) for way in ways]
    return f"needs {', or '.join(dict.fromkeys(nouns))}; pass {', or '.join(dict.fromkeys(options))}"


def _wanted(way: Sequence[str]) -> list[_Supply]:
    supplies = list(dict.fromkeys(supply for word, supply in _SUPPLIES.items() if word in way))
    of_export = {"graph", "checkpoint"} <= set(way)
    return [_SOURCE if of_export and supply is _CHECKPOINT else supply for supply in supplies]


def _longest(options: Iterable[str]) -> list[str]:
    """The options without those that another one says already: `--probe` beside `--probe with --inputs`."""
    said = list(dict.fromkeys(options))
    return [option for option in said if not any(other != option and other.startswith(option) for other in said)]
