"""Where the child begins: loads the augmentation, and measures it whole and each of its members alone."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from avreview.augment.child.adapters import Adapted, Apply
from avreview.augment.child.loading import load
from avreview.augment.child.runs import Failed
from avreview.augment.child.task import Task
from avreview.load.wording import one_line
from avreview.probes.child.refusal import Refused
from avreview.stages import stage

WHOLE, NAMES = -1, -2  # for `only`: the whole alone; and no measuring, but what there is to measure
MOST_MEMBERS = 50
_LIBRARIES = ("albumentations", "torchvision", "kornia", "mmdet3d", "mmcv", "numpy", "torch", "cv2", "PIL")


def run(job: Mapping[str, Any]) -> dict[str, Any]:
    """`Augmented` as JSON, or `refused` with the reason why there is none.

    `only` in the job says which part to measure: the number of a member, WHOLE or NAMES; all without it.
    """
    stage("starting")
    try:
        found = load(job["target"], job["adapter"], job["kind"])
    except Refused as refused:
        return {"refused": str(refused)}
    only = job.get("only")
    members = list(found.members)[:MOST_MEMBERS]
    count = 1 if only is not None else 1 + len(members)
    seconds = max(float(job["seconds"]) / count, 1.0)
    parts: list[dict[str, Any]] = []
    for place in range(WHOLE, len(members)):
        if only == NAMES or (only is not None and place != only):
            parts.append(unmeasured(found, place, None))
        else:
            parts.append(_part(job, found, place, seconds))
    return _answer(job, found, parts)


def _answer(job: Mapping[str, Any], found: Adapted, parts: list[dict[str, Any]]) -> dict[str, Any]:
    notes = list(found.notes)
    if len(found.members) > MOST_MEMBERS:
        notes.append(f"of {len(found.members)} members the first {MOST_MEMBERS} were measured alone")
    return {
        "target": job["target"], "kind": found.kind, "adapter": found.name, "seeds": job["seeds"],
        "seed": job["seed"], "whole": parts[0], "members": parts[1:], "libraries": _versions(),
        "files": _files(job["target"]), "notes": notes,
    }  # fmt: skip


def unmeasured(found: Adapted, place: int, failure: str | None) -> dict[str, Any]:
    """A part as JSON, with what became of it but no measure."""
    name = "the whole" if place == WHOLE else found.members[place][0]
    return {"name": one_line(name, 80), "place": None if place == WHOLE else place, "measures": {}, "failure": failure}


def _part(job: Mapping[str, Any], found: Adapted, place: int, seconds: float) -> dict[str, Any]:
    """One part measured, or what it did instead."""
    part = unmeasured(found, place, None)
    stage(_measuring(found, place))
    task = Task(
        apply=_apply(found, place), fresh=_fresh(job, place), seeds=int(job["seeds"]), seed=int(job["seed"]),
        seconds=seconds, pictures=bool(job["pictures"]), image_size=found.image_size, without=found.without,
        steps=max(1, len(found.members)) if place == WHOLE else 1,
    )  # fmt: skip
    try:
        measured = _measure(found.kind)(task)
    except Failed as failed:
        return unmeasured(found, place, str(failed))
    return {**measured, **{key: part[key] for key in ("name", "place")}}


def _measure(kind: str) -> Callable[[Task], dict[str, Any]]:
    if kind == "image":
        from avreview.augment.child.image_kind import measure_image

        return measure_image
    if kind == "sequence":
        from avreview.augment.child.sequence_kind import measure_sequences

        return measure_sequences
    from avreview.augment.child.driving_kind import measure_driving

    return measure_driving


def _apply(found: Adapted, place: int) -> Apply:
    return found.whole if place == WHOLE else found.members[place][1]


def _fresh(job: Mapping[str, Any], place: int) -> Callable[[], Apply]:
    """Builds the augmentation anew, and leaves the stage as it was."""

    def fresh() -> Apply:
        found = load(job["target"], job["adapter"], job["kind"])
        stage(_measuring(found, place))
        return _apply(found, place)

    return fresh


def _measuring(found: Adapted, place: int) -> str:
    return f"measuring {unmeasured(found, place, None)['name']}"


def _versions() -> dict[str, str]:
    modules = {name: sys.modules[name] for name in _LIBRARIES if name in sys.modules}
    return {name: str(module.__version__) for name, module in modules.items() if hasattr(module, "__version__")}


def _files(target: str) -> dict[str, str]:
    """The digest of the target's own file."""
    path = target if os.path.isfile(target) else getattr(sys.modules.get(target.partition(":")[0]), "__file__", None)
    try:
        with open(path or "", "rb") as file:
            return {os.path.relpath(str(path)): hashlib.sha256(file.read()).hexdigest()}
    except (OSError, ValueError):
        return {}
