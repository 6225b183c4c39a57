"""Does `onnx.checker` accept the model? It is asked in a child process, for it hangs or crashes on hostile files."""

from __future__ import annotations

import os
from typing import NamedTuple

from avreview.artifact import Artifact
from avreview.engine.resolve import NotAvailable, fact
from avreview.load.wording import one_line
from avreview.sandbox import Child, Ending, Limits, start

_LIMITS = Limits(seconds=5.0, memory=2 << 30)
_CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL")  # a process's own doing
_LONGEST = 300  # characters of the checker's message


class CheckerOutcome(NamedTuple):
    """What the checker decided; `message` is its one-line reason for a rejection."""

    accepted: bool
    message: str | None = None


class Validity:
    """The checker at work on one model."""

    def __init__(self, child: Child) -> None:
        self._child = child

    def outcome(self) -> CheckerOutcome:
        """The checker's decision, waited for. Raises NotAvailable when it came to none."""
        result = self._child.result()
        if result.ending is Ending.OK:
            message = None if result.value is None else one_line(str(result.value), _LONGEST)
            return CheckerOutcome(result.value is None, message)
        if result.ending is Ending.DIED and result.message.endswith(_CRASHES):
            return CheckerOutcome(False, f"onnx.checker crashed with {result.message.removeprefix('died by ')}")
        if result.ending in (Ending.TIMED_OUT, Ending.DIED):  # killed by somebody: nothing is known of the file
            raise NotAvailable(f"onnx.checker {result.message}; check the model with it by hand")
        raise NotAvailable(f"onnx.checker could not be run ({one_line(result.message, _LONGEST)})")


@fact(background=True)
def validity(artifact: Artifact) -> Validity:
    """Starts the checker on the model's file."""
    if artifact.graph is None or artifact.provenance.format != "onnx":
        raise NotAvailable("needs an ONNX export; pass one")
    path = os.path.abspath(artifact.provenance.path)
    try:
        return Validity(start("avreview.load.onnx.checker:complaint", path, limits=_LIMITS))
    except OSError as error:
        raise NotAvailable(f"onnx.checker could not be started ({error.strerror})") from None
