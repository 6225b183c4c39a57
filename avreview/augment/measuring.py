"""Running an augmentation in a child process, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avreview.augment.model import Augmented, AugmentRequest
from avreview.engine.resolve import NotAvailable, fact
from avreview.load.wording import one_line
from avreview.sandbox import Ending, Limits, Outcome, start

NOTHING = AugmentRequest("")  # what a review without --augment asks for
_CHILD = "avreview.augment.child.job:run"
_WHOLE, _NAMES = -1, -2  # as in avreview.augment.child.job, which imports what a parent does without
_LONGEST = 300
# What the person's code may need of the environment: where it and its libraries find their files.
_KEPT = (
    "HOME", "USERPROFILE", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "TORCH_HOME", "XDG_CACHE_HOME",
    "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "NO_ALBUMENTATIONS_UPDATE",
)  # fmt: skip


@fact
def augmented(request: AugmentRequest) -> Augmented:
    """What the augmentation that the person named does to scenes whose truth is known."""
    if not request.target:
        raise NotAvailable("needs the augmentation to be run; pass --augment pkg.module:factory")
    return measure(request)


def measure(request: AugmentRequest) -> Augmented:
    """Runs the augmentation and measures it, whole and each member alone.

    Raises NotAvailable, with the reason, where there is none to run. A part that raises, hangs or kills its process
    says so in its `failure`; the others are measured all the same.
    """
    with request.progress(f"augmentation: {request.target}"):
        outcome = _child(request)
        answer = _answer(outcome)
        if answer is None:
            answer = _one_by_one(request, _ended(request, outcome))
    if "refused" in answer:
        raise NotAvailable(str(answer["refused"]))
    return Augmented.from_json(answer)


def _child(request: AugmentRequest, *, parts: int = 1, **options: Any) -> Outcome:
    job = {
        "target": request.target, "kind": request.kind, "adapter": request.adapter, "seeds": request.seeds,
        "seed": request.seed, "seconds": 0.9 * request.seconds / parts, "pictures": request.pictures, **options,
    }  # fmt: skip
    limits = Limits(request.seconds / parts, request.memory)
    try:
        return start(_CHILD, job, limits=limits, user_code=True, keep=_KEPT).result()
    except OSError as error:
        raise NotAvailable(f"no process could be started to run the augmentation in ({error.strerror})") from None


def _answer(outcome: Outcome) -> Mapping[str, Any] | None:
    """None where the child gave none."""
    return outcome.value if outcome.ending is Ending.OK and isinstance(outcome.value, dict) else None


def _one_by_one(request: AugmentRequest, why: str) -> Mapping[str, Any]:
    """After a part has taken the process with it: every part in a process of its own."""
    names = _answer(_child(request, parts=4, only=_NAMES))
    if names is None:
        return {"refused": why}
    if "refused" in names:
        return names
    parts = [names["whole"], *names["members"]]
    if len(parts) == 1:
        return {**names, "whole": {**names["whole"], "failure": why}}
    measured = [_alone(request, part, len(parts)) for part in parts]
    return {**names, "whole": measured[0], "members": measured[1:]}


def _alone(request: AugmentRequest, part: Mapping[str, Any], count: int) -> Mapping[str, Any]:
    place = _WHOLE if part["place"] is None else part["place"]
    outcome = _child(request, parts=count, only=place)
    answer = _answer(outcome)
    if answer is None or "refused" in answer:
        said = _ended(request, outcome, count) if answer is None else str(answer["refused"])
        return {**part, "failure": said}
    found: Mapping[str, Any] = answer["whole"] if place == _WHOLE else answer["members"][place]
    return found


def _ended(request: AugmentRequest, outcome: Outcome, parts: int = 1) -> str:
    """Why a child gave no answer, for the person."""
    at = f" while {one_line(outcome.stage, 100)}" if outcome.stage else ""
    if outcome.ending is Ending.TIMED_OUT:
        return f"the augmentation did not finish within {request.seconds / parts:.3g} s{at}"
    if outcome.ending is Ending.DIED:
        killed = "; it may have run out of memory" if outcome.message.endswith("SIGKILL") else ""
        return f"the process that ran the augmentation {outcome.message}{at}{killed}"
    if outcome.message.startswith("MemoryError"):
        return f"the augmentation needs more memory than {request.memory / (1 << 30):.3g} GiB{at}"
    return f"the augmentation ended its process{at} ({one_line(outcome.message, _LONGEST)})"
