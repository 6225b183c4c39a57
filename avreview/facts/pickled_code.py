"""What the pickles of a subject name that loading them would run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from avreview.artifact import Artifact
from avreview.engine.resolve import NotApplicable, NotAvailable, fact
from avreview.facts.subject import Companions
from avreview.load.pickles.names import Unsafe, judge

_WITHOUT_PICKLE = ("safetensors",)


class PickledFile(NamedTuple):
    """One checkpoint that holds a pickle; `oddities` are what no trainer writes, such as bytes behind the end."""

    path: str
    unsafe: Sequence[Unsafe]
    oddities: Sequence[str]


class PickledCode(NamedTuple):
    """Every pickled checkpoint of the subject: the model, the checkpoint beside it, the pretrained base."""

    files: Sequence[PickledFile]


@fact
def pickled_code(artifact: Artifact, companions: Companions) -> PickledCode:
    """Judges the names in every checkpoint, whatever its role: each of them will be loaded by somebody."""
    every = [one for one in (artifact, companions.checkpoint, companions.pretrained) if one is not None]
    checkpoints = [(one.provenance, one.checkpoint) for one in every if one.checkpoint is not None]
    if not checkpoints:
        raise NotAvailable("needs a checkpoint; pass --checkpoint")
    files = [
        PickledFile(provenance.path, judge(held.code), held.oddities)
        for provenance, held in checkpoints
        if provenance.format not in _WITHOUT_PICKLE or held.code or held.oddities
    ]
    if not files:
        raise NotApplicable("the file holds no pickle")
    return PickledCode(files)
