"""Comparing two artifacts: all sections, each change in one of them."""

from __future__ import annotations

from collections.abc import Sequence

from avreview.artifact import Artifact
from avreview.compare.dropouts import compare_dropouts, dropout_nodes
from avreview.compare.folding import find_folds
from avreview.compare.inputs import compare_inputs
from avreview.compare.match import Match
from avreview.compare.modules import compare_modules
from avreview.compare.norms import compare_norms, norm_nodes
from avreview.compare.precision import compare_precision, quantization_nodes
from avreview.compare.result import Section, Size
from avreview.compare.sides import Side
from avreview.compare.structure import compare_structure
from avreview.compare.weights import compare_weights, weigh
from avreview.errors import UsageError
from avreview.facts.norms import NormLayers

_NOTHING: frozenset[str] = frozenset()


def kind_of(artifact: Artifact) -> str:
    """`onnx` or `checkpoint`: what is compared with its like."""
    return "onnx" if artifact.provenance.format == "onnx" else "checkpoint"


def compare_artifacts(old: Artifact, new: Artifact) -> tuple[list[Section], list[Size]]:
    """What changed from `old` to `new`. Raises UsageError for an export and a checkpoint.

    Nothing of the files is run.
    """
    if kind_of(old) != kind_of(new):
        raise UsageError(
            f"{old.provenance.path} is {_called(old)} and {new.provenance.path} {_called(new)}; name two of one kind "
            "(`avreview check model.onnx --checkpoint FILE` compares an export with its checkpoint)"
        )
    import numpy as np

    with np.errstate(all="ignore"):
        match = Match(Side(old), Side(new))
        return _sections(match), _sizes(match)


def _called(artifact: Artifact) -> str:
    return "an ONNX export" if kind_of(artifact) == "onnx" else "a checkpoint"


def _sections(match: Match) -> list[Section]:
    """Every section; what one of them tells of is left to it."""
    inputs = compare_inputs(match)
    folds = find_folds(match)
    weighing = weigh(match)
    told = inputs.tensors | folds.tensors | _factors(match, inputs.nodes)
    if match.alignment is not None:
        spoken = (_told_nodes(match.old, inputs.nodes[0]), _told_nodes(match.new, inputs.nodes[1]))
        structure = compare_structure(match, spoken)
        gone = (_NOTHING, _NOTHING)
    else:
        structure, gone = compare_modules(match)
    return [
        structure,
        compare_weights(match, weighing, told, gone),
        compare_norms(match, folds, inputs.nodes),
        compare_dropouts(match),
        inputs.section,
        compare_precision(match, weighing),
    ]


def _factors(match: Match, inputs: tuple[set[int], set[int]]) -> set[int]:
    """The constants, by id, of preprocessing and of dropouts, which are no weights."""
    found: set[int] = set()
    for side, pairs, left, nodes in (
        (match.old, [pair.old for pair in match.tensors], match.old_left, inputs[0]),
        (match.new, [pair.new for pair in match.tensors], match.new_left, inputs[1]),
    ):
        spoken = nodes | dropout_nodes(side)
        entries = (entry for entry in (*pairs, *left) if entry.node is not None and entry.node.index in spoken)
        found |= {id(entry.tensor) for entry in entries}
    return found


def _told_nodes(side: Side, inputs: set[int]) -> set[int]:
    """The nodes of which sections other than the structure tell."""
    norms = side.had(NormLayers)
    own = norm_nodes(side, norms.all) if norms is not None else set()
    return own | dropout_nodes(side) | quantization_nodes(side) | inputs


def _sizes(match: Match) -> list[Size]:
    sides: Sequence[Side] = (match.old, match.new)
    files = [side.artifact.provenance.bytes for side in sides]
    sizes = [Size("bytes", files[0], files[1])]
    elements = [
        sum(t.size for t in side.artifact.tensors.values() if t.is_floating or t.quantization) for side in sides
    ]
    stored = [sum(t.size for t in side.artifact.tensors.values()) for side in sides]
    sizes += [Size("floating-point elements", *elements), Size("elements of all tensors", *stored)]
    sizes.append(Size("tensors", *(len(side.artifact.tensors) for side in sides)))
    if match.alignment is not None:
        sizes.append(Size("nodes", len(match.alignment.old.nodes), len(match.alignment.new.nodes)))
    return sizes
