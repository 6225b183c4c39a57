"""What was asked of an augmentation and what was measured: plain data, on both sides of the child process.

Everything here can be written as JSON and read back (`as_json`, `Augmented.from_json`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from avreview.engine.resolve import NotAvailable

KINDS = ("image", "driving", "sequence")  # of scenes; see avreview.augment.scene
Progress = Callable[[str], contextlib.AbstractContextManager[Any]]


class AugmentRequest(NamedTuple):
    """Which augmentation to run, and within which limits.

    `target` is `pkg.module:factory`, which is imported and called, or an albumentations file (JSON or YAML). `kind` is
    one of KINDS, None where the adapter (or the factory's `avreview_scene` attribute) tells. `adapter` is a name of
    `avreview.augment.child.adapters`, None to be told by the object. Scenes are drawn from `seed`, and the augmentation
    is applied under `seeds` seeds.
    """

    target: str
    kind: str | None = None
    adapter: str | None = None
    seeds: int = 16
    seed: int = 0
    seconds: float = 300.0
    memory: int = 8 << 30
    pictures: bool = True
    progress: Progress = contextlib.nullcontext


class Sample(NamedTuple):
    """One measurement at one object (or point, or frame) under one seed.

    `size` is what the value may be compared with: the speed shown for a velocity error; 0 where nothing. `words`
    explain a value that is off ("velocity was not rotated"); empty where it is fine or nothing explains it.
    """

    seed: int
    entity: str  # `object 3 (car)`, `camera 1`, `frame 2`
    value: float
    size: float = 0.0
    words: str = ""


class Measured(NamedTuple):
    """What one augmentation did: the whole, or one member of it applied alone.

    `measures` maps the names below to samples; a name is absent where the scene or the augmentation has nothing of
    the kind, and stands in `unjudged` with the reason where it cannot be judged. Units:

    | name | value | fine is |
    |---|---|---|
    | `in_box` | share of an object's points inside its box | 1 |
    | `centre` | m from where the points put the box | 0 |
    | `dims` | largest relative error of length, width, height | 0 |
    | `yaw` | degrees | 0 |
    | `reprojection` | px between a projected point and its marker | 0 |
    | `iou_2d` | overlap of a 2-D box with the markers of its object | 1 |
    | `mask` | overlap of a mask with its object | 1 |
    | `keypoint` | px between a keypoint and its marker | 0 |
    | `map` | px (cells) between a map's feature and where the scene's transform puts it | 0 |
    | `visible` | share of an object that is still to be seen, for each box that is left | above 0 |
    | `velocity` | m/s between the label and what the sweeps show; `size` is the speed shown | 0 |
    | `heading` | degrees between heading and velocity of what drives straight on | 0 |
    | `time` | relative error of the time channel against the displacement shown | 0 |
    | `tracks` | identities of a frame that changed, were doubled or moved to another object | 0 |
    | `sequence` | m/s between velocity labels and the labels' own motion from frame to frame | 0 |
    | `ego` | m between where two frames' poses put the same standing point of the world | 0 |
    | `repeats` | largest difference of two runs under one seed | 0 |

    `culprit` names which of `boxes`, `points`, `images`, `matrices`, … the legs put aside as the odd one out.
    `failure` says what the augmentation raised or gave back instead of a scene; nothing is measured then.
    `changed` tells whether it changed anything under any seed.
    """

    name: str
    place: int | None  # among the members; None for the whole
    measures: Mapping[str, Sequence[Sample]] = {}
    unjudged: Mapping[str, str] = {}
    culprit: str | None = None
    failure: str | None = None
    changed: bool = True
    picture: Mapping[str, Any] | None = None  # see avreview.augment.picture

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measured:
        measures = {name: [Sample(*entry) for entry in samples] for name, samples in data["measures"].items()}
        return cls(**{**data, "measures": measures})

    def worst(self, measure: str, *, least: bool = False) -> Sample | None:
        """The sample with the largest value (the smallest if `least`); None where nothing was measured."""
        samples = self.measures.get(measure, ())
        chosen = min if least else max
        return chosen(samples, key=lambda sample: sample.value, default=None)


class Augmented(NamedTuple):
    """The measurement of one target: the whole, and where the whole is made of members each of these alone."""

    target: str
    kind: str
    adapter: str
    seeds: int
    seed: int
    whole: Measured
    members: Sequence[Measured] = ()
    libraries: Mapping[str, str] = {}  # versions: albumentations, torchvision, numpy, …
    files: Mapping[str, str] = {}  # sha256 of the target's file where it is one
    notes: Sequence[str] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Augmented:
        whole, members = Measured.from_json(data["whole"]), [Measured.from_json(entry) for entry in data["members"]]
        return cls(**{**data, "whole": whole, "members": members})

    @property
    def all(self) -> Sequence[Measured]:
        return [self.whole, *self.members]


class Measurement:
    """An augmentation that is to be measured: once, when it is first asked for, however many reviews want it."""

    def __init__(self, request: AugmentRequest) -> None:
        self.request = request
        self._result: Augmented | NotAvailable | None = None

    def result(self) -> Augmented | NotAvailable:
        """What was measured, or why nothing could be."""
        if self._result is None:
            from avreview.augment.measuring import measure

            try:
                self._result = measure(self.request)
            except NotAvailable as reason:
                self._result = reason
        return self._result

    @property
    def trouble(self) -> str | None:
        """Why it came to nothing, in one line; None where it ran.

        A member that does not run by itself, for it needs what another leaves behind, is no trouble: the whole ran.
        """
        result = self.result()
        return str(result) if isinstance(result, NotAvailable) else result.whole.failure


def as_json(measured: Any) -> Any:
    """A Measured or Augmented as JSON's own types: records become mappings, samples lists."""
    if isinstance(measured, Sample):
        return list(measured)
    if isinstance(measured, tuple) and hasattr(measured, "_asdict"):
        return {name: as_json(value) for name, value in measured._asdict().items()}
    if isinstance(measured, Mapping):
        return {str(name): as_json(value) for name, value in measured.items()}
    if isinstance(measured, list | tuple):
        return [as_json(value) for value in measured]
    return measured
