"""Running one probe after another on a model, each in a child process of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from avreview.artifact import Artifact
from avreview.engine.resolve import NotAvailable, WrongKind, fact
from avreview.load.wording import one_line
from avreview.probes.plan import InputPlan
from avreview.probes.request import ProbeRequest
from avreview.sandbox import Ending, Limits, Outcome, start

_LONGEST = 300  # characters of what a runtime says
_CHILD = "avreview.probes.child.job:run"
# The stages whose failure every probe would share, and those that take a reference; and the one that no probe would
# get past in the same time. The children name them.
_LOADING, _LOADING_REFERENCE, _FIRST_RUN = "loading the model", "loading the reference", "running the model"


class ProbeRun(NamedTuple):
    """A probe that was asked for: the inputs it ran on, or the reason why it came to nothing."""

    probe: str
    inputs: Mapping[str, Any] | None
    reason: str | None = None


class Probing:
    """The probes of one model. `runs` holds what became of each, in order."""

    def __init__(self, path: str, request: ProbeRequest) -> None:
        self._path = path
        self._request = request
        self._broken: str | None = None
        self._broken_reference: str | None = None
        self._attempt = 0
        self.runs: list[ProbeRun] = []

    @property
    def request(self) -> ProbeRequest:
        return self._request

    def require(self, probe: str) -> None:
        """Raises NotAvailable where the person did not ask for the probe."""
        if probe not in self._request.probes:
            raise NotAvailable(f"needs the model to be run; pass --probe={probe}, or --probe for all probes")

    def run(
        self, probe: str, plan: InputPlan, *, user_code: bool = False, export: bool = True, **options: Any
    ) -> Mapping[str, Any]:
        """What the child's `probe` (a module of `avreview.probes.child`) measured, with `options` among its job.

        `export` is False for a probe that runs the reference alone: it does without an export that cannot be loaded.
        Raises NotAvailable, with the reason, when it was not asked for or came to nothing.
        """
        self.require(probe)
        if self._broken is not None and export:
            raise NotAvailable(self._broken)
        if "reference" in options and self._broken_reference is not None:
            raise NotAvailable(self._broken_reference)
        request = self._request
        job = {
            "path": os.path.abspath(self._path),
            "plan": plan.as_json(),
            "attempt": self._attempt,
            "seconds": request.seconds,
            **options,
        }
        limits = Limits(request.seconds, request.memory)
        with request.progress(f"{probe}: {os.path.basename(self._path)}"):
            try:
                outcome = start(_CHILD, probe, job, limits=limits, user_code=user_code, keep=_KEPT * user_code).result()
            except OSError as error:
                raise NotAvailable(f"no process could be started to run the model in ({error.strerror})") from None
        answer = self._answer(outcome)
        reason = answer.get("refused")
        self.runs.append(ProbeRun(probe, answer.get("inputs"), reason))
        if reason is not None:
            stage = answer.get("stage")
            endless = outcome.ending is Ending.TIMED_OUT and stage == _FIRST_RUN and "reference" not in options
            if stage == _LOADING or endless:
                self._broken = reason
            if stage == _LOADING_REFERENCE:
                self._broken_reference = reason
            raise NotAvailable(reason)
        self._attempt = int(answer.get("attempt", self._attempt))
        return answer

    def _answer(self, outcome: Outcome) -> Mapping[str, Any]:
        """The child's answer, or one that says why there is none."""
        if outcome.ending is Ending.OK and isinstance(outcome.value, dict):
            return outcome.value
        at = f" while {outcome.stage}" if outcome.stage else ""
        if outcome.ending is Ending.TIMED_OUT:
            reason = f"the probe {outcome.message}{at}; raise --probe-timeout to give it longer"
        elif outcome.ending is Ending.DIED:
            killed = "; it may have run out of memory" if outcome.message.endswith("SIGKILL") else ""
            reason = f"the process that ran the model {outcome.message}{at}{killed}"
        elif outcome.message.startswith("MemoryError"):
            room, remedy = _room(self._request.memory)
            reason = f"the model needs more memory than {room}{at}; {remedy}"
        else:
            reason = f"the probe failed{at} ({one_line(outcome.message, _LONGEST)})"
        return {"refused": reason, "stage": outcome.stage}


# What code that the person named may need of the environment: where it and its libraries find their files.
_KEPT = (
    "HOME", "USERPROFILE", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "TORCH_HOME", "HF_HOME", "XDG_CACHE_HOME",
    "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS",
)  # fmt: skip


def _room(limit: int) -> tuple[str, str]:
    """The memory that a probe had, and what gives it more."""
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on Windows
        there = limit
    if limit > there:
        return f"the {_size(there)} of this machine", "run it on a larger one"
    return _size(limit), "raise --probe-memory"


def _size(size: int) -> str:
    return f"{size / (1 << 30):.3g} GiB" if size >= 1 << 30 else f"{size / (1 << 20):.3g} MiB"


@fact
def probing(artifact: Artifact, request: ProbeRequest) -> Probing:
    """What runs the probes of an ONNX export."""
    if artifact.provenance.format != "onnx" or artifact.graph is None:
        raise WrongKind("needs an ONNX export to run; pass one")
    return Probing(artifact.provenance.path, request)
