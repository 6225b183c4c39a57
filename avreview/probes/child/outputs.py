"""Which output of an export stands for which of its reference, and how far apart they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from avreview.load.wording import quoted
from avreview.probes.child.compare import drift
from avreview.probes.child.refusal import Refused
from avreview.probes.compared import Limits

Array = np.ndarray[Any, Any]


class Measured:
    """One output of the export beside its reference; `moved` is the output for inputs moved by one unit."""

    def __init__(self, name: str, exported: Array, expected: Array, moved: Array) -> None:
        self.name = name
        self.shape = exported.shape
        self.difference: float | None = None
        self.drift: float | None = None
        self.sensitivity = 0.0
        self.differing = 0.0
        self.departs = False
        self.note: str | None = None
        if exported.dtype.kind in "SUO" or expected.dtype.kind in "SUO":
            self.note = f"the output {quoted(name)} is text, which is not compared"
        elif not _same_extents(exported, expected):
            shapes = f"{list(exported.shape)}, the reference {list(expected.shape)}"
            self.note = f"the output {quoted(name)} has the shape {shapes}: not compared"
        elif _is_float(exported) or _is_float(expected):
            self._floats(exported, expected.reshape(exported.shape), moved)
        else:
            self._integers(exported, expected.reshape(exported.shape), moved)

    @property
    def compared(self) -> bool:
        return self.difference is not None

    @property
    def weight(self) -> tuple[bool, bool, float]:
        """What tells the worse of two measurements."""
        return self.compared, self.departs, self.measure

    @property
    def measure(self) -> float:
        """The drift, or for integers the share of elements that differ."""
        return self.differing if self.drift is None else self.drift

    def judge(self, limits: Limits) -> None:
        self.departs = self.compared and limits.exceeded(self.drift, self.sensitivity, self.differing)

    def as_json(self) -> dict[str, Any]:
        """The fields of `OutputParity`."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "max_difference": self.difference,
            "drift": self.drift,
            "sensitivity": self.sensitivity,
            "differing": self.differing,
            "departs": self.departs,
            "note": self.note,
        }

    def _floats(self, exported: Array, expected: Array, moved: Array) -> None:
        self.difference = _largest_difference(expected, exported)
        scale = expected if np.any(expected) else exported  # a reference of zeros has no size to compare with
        self.drift = drift(expected, exported) if scale is expected else drift(exported, expected)
        if moved.shape == exported.shape:
            self.sensitivity = drift(exported, moved)

    def _integers(self, exported: Array, expected: Array, moved: Array) -> None:
        self.difference = _largest_difference(expected, exported)
        self.differing = _share(exported, expected)
        if moved.shape == exported.shape:
            self.sensitivity = _share(exported, moved)


def matched(outputs: Mapping[str, Array], expected: Mapping[str, Array] | Sequence[Array]) -> dict[str, Array]:
    """The reference's array for each output of the export.

    By name where the reference has all names, or else some of them; otherwise in order, where what is left over at
    the end does not matter. Raises Refused where they cannot be paired.
    """
    if isinstance(expected, Mapping):
        shared = {name: expected[name] for name in outputs if name in expected}
        if shared:
            return shared
        expected = list(expected.values())
    if len(expected) == len(outputs):
        return dict(zip(outputs, expected, strict=True))
    pairs = dict(zip(outputs, expected, strict=False))
    if not all(_same_extents(outputs[name], array) for name, array in pairs.items()):
        raise Refused(
            f"the reference returned {len(expected)} outputs and the export {len(outputs)} ({_listed(outputs)}), "
            "which cannot be paired; return them in the export's order, or in a dict by its names"
        )
    return pairs


def left_over(outputs: Mapping[str, Array], expected: Mapping[str, Array] | Sequence[Array]) -> Iterator[str]:
    """What has no counterpart, in words."""
    paired = matched(outputs, expected)
    alone = [name for name in outputs if name not in paired]
    if alone:
        yield f"the reference has no output for {_listed(alone)}"
    if len(expected) > len(paired):
        yield f"{len(expected) - len(paired)} further outputs of the reference are not in the export"


def _same_extents(one: Array, other: Array) -> bool:
    """One shape, but for axes of extent 1."""
    return [extent for extent in one.shape if extent != 1] == [extent for extent in other.shape if extent != 1]


def _is_float(array: Array) -> bool:
    return array.dtype.kind in "fc" or array.dtype.name.startswith(("bfloat", "float8"))


def _largest_difference(one: Array, other: Array) -> float:
    """The largest |difference| where both are finite."""
    left, right = one.astype(np.float64), other.astype(np.float64)
    apart = np.abs(left - right)
    return float(apart[np.isfinite(apart)].max(initial=0.0))


def _share(one: Array, other: Array) -> float:
    return float(np.mean(one != other)) if one.size else 0.0


def _listed(names: Iterable[str]) -> str:
    every = [quoted(name) for name in names]
    return ", ".join(every[:3]) + (f" and {len(every) - 3} more" if len(every) > 3 else "")
