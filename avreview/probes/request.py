"""What the person asks to be run, and within which limits."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from avreview.errors import UsageError

# Every probe by its name on the command line, with what it does.
PROBES = {
    "repeat": "runs the same input several times",
    "batch": "swaps a sample's neighbours in the batch, and tries other batch sizes",
    "signal": "follows the signal's variance, saturation and silence through depth",
    "levels": "compares the runtime's graph optimizations off and on",
    "parity": "compares the outputs with a reference's",
    "norms": "recomputes norm statistics on given inputs",
    "modes": "compares the reference's train and eval modes",
    "gradients": "follows the gradient's variance through the reference's depth",
}
ALL = "all"

Progress = Callable[[str], contextlib.AbstractContextManager[Any]]


class ProbeRequest(NamedTuple):
    """Which probes to run, on what, and within which limits; each probe has them to itself.

    `inputs` is an .npz file or a folder of .npy files, `reference` what the outputs are compared with. `progress` is
    entered with a line of text while a probe runs.
    """

    probes: frozenset[str]
    seconds: float = 300.0
    memory: int = 8 << 30
    seed: int = 0
    inputs: str | None = None
    reference: str | None = None
    progress: Progress = contextlib.nullcontext


NOTHING = ProbeRequest(frozenset())  # what a review without --probe asks for


def named_probes(words: Iterable[str]) -> frozenset[str]:
    """The probes that words name; `all` names every one. Raises UsageError for an unknown word."""
    wanted = [word.strip().lower() for word in words if word.strip()]
    for word in wanted:
        if word != ALL and word not in PROBES:
            near = difflib.get_close_matches(word, [*PROBES, ALL], n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"no probe is called {word!r}{hint}; there are {', '.join(PROBES)} and {ALL}")
    return frozenset(PROBES) if ALL in wanted or not wanted else frozenset(wanted)
