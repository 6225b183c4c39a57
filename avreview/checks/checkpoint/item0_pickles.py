"""Item 0 for checkpoints: what loading one would run, and which wrapper its keys still name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from avreview.artifact import Artifact
from avreview.checks.words import count, listed
from avreview.engine.cards import Thresholds
from avreview.engine.checks import AnswerText, Violation, answer, check
from avreview.engine.resolve import NotApplicable
from avreview.engine.review import Location
from avreview.facts.pickled_code import PickledCode
from avreview.facts.subject import TrainingState

# What wrappers put in front of every key; `model.` is an ordinary attribute name in many detectors.
_WRAPPERS = ("module.", "_orig_mod.", "_forward_module.", "ema_model.", "_fsdp_wrapped_module.")


@check("AV003")
def unsafe_pickle(pickled: PickledCode, limits: Thresholds) -> Iterator[Violation]:
    """Names that loading would call, in any checkpoint of the subject."""
    for file in pickled.files:
        if len(file.unsafe) > limits.max_unknown_globals or file.oddities:
            names = list(dict.fromkeys(entry.code.name for entry in file.unsafe))
            observed: dict[str, list[Any]] = {
                "names": names[:32],
                "reasons": list(dict.fromkeys(entry.reason for entry in file.unsafe))[:8],
            }
            if file.unsafe:
                first = file.unsafe[0].code
                observed["first_at"] = [first.file, first.offset]
            if file.oddities:
                observed["oddities"] = list(file.oddities)
            yield Violation(
                at=Location(file.path),
                message=_danger(names, file.oddities),
                observed=observed,
                expected={"names": "tensors, and the classes of known frameworks"},
            )


def _danger(names: Sequence[str], oddities: Sequence[str]) -> str:
    if not names:
        return f"The file is not what a trainer writes: {listed(oddities)}."
    odd = f"; besides, {listed(oddities)}" if oddities else ""
    return f"Loading it would run code of {count(len(names), 'unknown or dangerous name')}: {listed(names)}{odd}."


@check("AV004")
def training_prefix_left(state: TrainingState, limits: Thresholds) -> Iterator[Violation]:
    """A wrapper's prefix on every key of the primary set."""
    primary = state.checkpoint.sets.get(state.checkpoint.primary)
    if primary is None or not primary.tensors:
        raise NotApplicable("the checkpoint holds no named weights")
    wrapped = any(f".{wrapper}" in f".{primary.prefix}" for wrapper in _WRAPPERS)
    kept = sum(tensor.name.startswith(primary.prefix) for tensor in primary.tensors.values())
    if wrapped and kept / len(primary.tensors) >= limits.min_prefixed_share:
        first = next(iter(primary.tensors.values())).name
        yield Violation(
            at=Location(state.artifact, tensor=first),
            message=f"All {count(len(primary.tensors), 'key')} begin with {primary.prefix!r}.",
            observed={"prefix": primary.prefix, "keys": len(primary.tensors), "first_key": first},
            expected={"first_key": first.removeprefix(primary.prefix)},
        )


@answer(0)
def what_the_checkpoint_holds(artifact: Artifact, state: TrainingState) -> AnswerText:
    """Says what was read: which sets of weights, a module tree, optimizers."""
    held = state.checkpoint
    elements = sum(tensor.size for tensor in artifact.tensors.values())
    what = [f"{count(len(artifact.tensors), 'tensor')} with {elements:,} elements"]
    if len(held.sets) > 1:
        others = listed(name for name in held.sets if name != held.primary)
        what.append(f"of the set {held.primary!r} (beside {others})")
    sentence = " ".join(what)
    beside = []
    if held.modules:
        beside.append(count(len(held.modules), "module"))
    if held.optimizers:
        beside.append(count(len(held.optimizers), "optimizer state"))
    tail = f"; {' and '.join(beside)}" if beside else "; neither modules nor optimizer state"
    rows = [
        {"set": weights.name, "where": weights.where, "tensors": len(weights.tensors), "prefix": weights.prefix or None,
         "reviewed": weights.name == held.primary}
        for weights in held.sets.values()
    ]  # fmt: skip
    return AnswerText(f"Read {sentence}{tail}.", rows)
