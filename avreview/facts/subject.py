"""The artifacts of one review: the model, and what was given beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from avreview.artifact import Artifact
from avreview.checkpoint import Checkpoint
from avreview.engine.resolve import NotAvailable, WrongKind, fact

if TYPE_CHECKING:
    from avreview.augment.model import Augmented
    from avreview.recipe.manifests import ListsBeside, Manifests
    from avreview.recipe.model import Recipe

_PROGRAMS = ("torchscript", "pt2")  # checkpoints and exports in one


class Companions(NamedTuple):
    """What was named beside the model."""

    checkpoint: Artifact | None = None
    pretrained: Artifact | None = None
    recipe: Recipe | None = None
    manifests: Manifests | None = None
    lists: ListsBeside | None = None  # what the recipe names itself
    augmented: Augmented | NotAvailable | None = None  # what running the augmentation showed, or why it came to nothing


class SourceCheckpoint(NamedTuple):
    """The checkpoint that the reviewed export is said to come from."""

    artifact: Artifact
    checkpoint: Checkpoint


class PretrainedBase(NamedTuple):
    """The weights that training is said to have started from."""

    artifact: Artifact


class TrainingState(NamedTuple):
    """What the reviewed checkpoint holds besides its primary weights."""

    artifact: str  # its path
    checkpoint: Checkpoint


@fact
def training_state(artifact: Artifact) -> TrainingState:
    """The model's own: the engine puts a checkpoint beside an export into the model's place where that has none."""
    if artifact.checkpoint is None:
        raise WrongKind("needs a training checkpoint; pass --checkpoint")
    return TrainingState(artifact.provenance.path, artifact.checkpoint)


@fact
def source_checkpoint(artifact: Artifact, companions: Companions) -> SourceCheckpoint:
    """The checkpoint beside an export."""
    if artifact.provenance.format in _PROGRAMS:
        raise NotAvailable("needs an ONNX export; TorchScript and exported programs are not compared with checkpoints")
    if artifact.checkpoint is not None:
        raise WrongKind("needs the ONNX export to compare; pass it as the model, and this file with --checkpoint")
    if companions.checkpoint is None or companions.checkpoint.checkpoint is None:
        raise NotAvailable("needs the checkpoint that the export was made from; pass --checkpoint")
    return SourceCheckpoint(companions.checkpoint, companions.checkpoint.checkpoint)


@fact
def pretrained_base(companions: Companions) -> PretrainedBase:
    """The base given with --pretrained."""
    if companions.pretrained is None:
        raise NotAvailable("needs the pretrained base; pass --pretrained")
    return PretrainedBase(companions.pretrained)
