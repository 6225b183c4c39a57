"""What a training recipe says, whatever the dialect it is written in. Nothing here knows a dialect.

A value that a recipe does not state is None or absent: readers never guess. What they met and could not read stands
in `Recipe.unread`, with the place and the reason.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Place(NamedTuple):
    """A line of a file, counted from 1; None where the dialect keeps no lines (a recipe inside a checkpoint)."""

    file: str
    line: int | None = None


class Setting(NamedTuple):
    """A stated value and where it is stated."""

    value: Any
    at: Place


class Unread(NamedTuple):
    """Something of the recipe that could not be read, or that nobody here knows: `what`, and `why` in a few words."""

    what: str
    why: str
    at: Place


class Does(enum.Enum):
    """What a transform does, in the terms that rules reason in. One transform may do several things."""

    LOAD = "load"  # reads images, points or labels
    SWEEPS = "sweeps"  # adds earlier sweeps or frames
    FLIP = "flip"  # mirrors
    ROTATE = "rotate"
    SCALE = "scale"
    TRANSLATE = "translate"
    SHEAR = "shear"
    CROP = "crop"
    RESIZE = "resize"
    WARP = "warp"  # perspective, elastic, grid: no similarity
    MOSAIC = "mosaic"  # joins several images: mosaic, mix-up, copy-paste between images
    PASTE = "paste"  # objects of a database into a scene
    MOVE_OBJECTS = "move-objects"  # each object by itself: noise, local rotation, local scaling
    DROP = "drop"  # points, patches or channels left out: cut-out, dropped points, dropped views
    RANGE_FILTER = "range-filter"  # leaves out what lies outside a range
    LABEL_FILTER = "label-filter"  # leaves labels out by class, size or number of points
    PHOTOMETRIC = "photometric"  # brightness, colour, blur, noise, compression, intensity
    NORMALIZE = "normalize"  # subtracts a mean, divides by a deviation
    PAD = "pad"
    SHUFFLE = "shuffle"  # the order of points or channels
    DROP_FRAMES = "drop-frames"  # leaves frames out, or draws them at random or with other gaps
    JITTER_TIME = "jitter-time"  # moves timestamps or lags
    REVERSE_TIME = "reverse-time"
    FORMAT = "format"  # to tensors, to voxels
    COLLECT = "collect"  # chooses what the network is given
    TEST_TIME = "test-time"  # a wrapper that repeats the pipeline in fixed variants
    OTHER = "other"  # known, and none of these


class Upon(enum.Enum):
    """What a transform changes, and changes consistently."""

    IMAGE = "image"
    POINTS = "points"
    BOXES_3D = "boxes-3d"
    BOXES_2D = "boxes-2d"
    MASKS = "masks"
    KEYPOINTS = "keypoints"
    VELOCITIES = "velocities"
    CALIBRATION = "calibration"  # intrinsics, extrinsics, or the matrix that says what was done to image or scene
    MAPS = "maps"  # BEV maps, occupancy grids, lane lines
    POSES = "poses"  # ego poses
    TIMES = "times"  # timestamps, the lag of each point
    TRACKS = "tracks"


GEOMETRY = frozenset(
    {Does.FLIP, Does.ROTATE, Does.SCALE, Does.TRANSLATE, Does.SHEAR, Does.CROP, Does.RESIZE, Does.WARP}
)
GLOBAL_GEOMETRY = frozenset({Does.FLIP, Does.ROTATE, Does.SCALE, Does.TRANSLATE})


class Amount(NamedTuple):
    """How much: a range in a unit (`rad`, `degree`, `ratio`, `m`, `px`, `share`, `epoch`, `count`).

    `unit` is the one that the transform of that name takes, not the one that was meant.
    """

    low: float
    high: float
    unit: str

    @property
    def extent(self) -> float:
        """The larger of both, without its sign."""
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True)
class Step:
    """One transform of a pipeline.

    `options` are the settings as written. `amounts` holds what rules compare, by name: `rotation`, `scale`,
    `translation`, `shear`, `probability` (of the whole transform), `flip_horizontal` and `flip_vertical` (image) and
    `flip_x` and `flip_y` (scene: the axis whose sign changes), each the probability of that mirror; `stop_epoch` and
    `start_epoch` (from which epoch on it is off or on; absent: always on), `sweeps`, `range` (each bound).
    `inside` names the wrappers around it, outermost first; steps with the same `choice` exclude one another.
    """

    name: str
    at: Place
    does: frozenset[Does] = frozenset()
    upon: frozenset[Upon] = frozenset()
    is_random: bool | None = None  # None: not told
    is_known: bool = True  # False: nobody here knows the name, and `does`, `upon` and `amounts` are empty
    amounts: Mapping[str, Amount] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    inside: tuple[str, ...] = ()
    choice: int | None = None
    swaps_classes: bool | None = None  # a mirror that also swaps left and right classes
    only_labels: bool = False  # moves labels alone, and leaves the inputs to the network (BEVDet's BEV augmentation)
    collects: frozenset[str] = frozenset()  # of a COLLECT step: the keys that go on

    @property
    def is_active(self) -> bool:
        """Whether it can happen at all: a probability of 0 or an epoch of 0 to stop at switches it off."""
        probability, stop = self.amounts.get("probability"), self.amounts.get("stop_epoch")
        return not (probability is not None and probability.high <= 0) and not (stop is not None and stop.high == 0)

    @property
    def moves(self) -> frozenset[Does]:
        """The geometry that it can change: mirrors whose probability is 0 and empty ranges are none."""
        return self.does & GEOMETRY


@dataclass(frozen=True)
class Pipeline:
    """The transforms of one split, in the order in which data meets them; nested ones stand flat."""

    role: str  # `train`, `val` or `test`
    steps: Sequence[Step]
    at: Place
    name: str = ""  # of several for one split: `lidar`, `camera`

    def that(self, *does: Does) -> Iterator[tuple[int, Step]]:
        """The steps that do one of these things and can happen, with their places."""
        return (
            (index, step) for index, step in enumerate(self.steps) if step.is_active and not step.does.isdisjoint(does)
        )


class GroupRule(NamedTuple):
    """Parameters whose name contains `pattern` get a rate and a decay of their own, as factors of the general ones.

    `kind` is `name` for a part of the parameter's name, or `bias`, `norm`, `depthwise`, `embedding`, `module`.
    """

    kind: str
    pattern: str
    rate_factor: float | None
    decay_factor: float | None
    at: Place


class RecipeOptimizer(NamedTuple):
    """How parameters are optimized.

    `decays` tells for `bias`, `norm` and `embedding` what the trainer of this dialect does with these where no rule of
    `rules` speaks: True where it decays them, False where it leaves them out, None where it does not tell.
    `decays_outside` is True where the trainer shrinks weights itself, and the optimizer's own decay is 0.
    """

    name: str  # as written: `AdamW`, `SGD`, `adam_onecycle`
    at: Place
    rate: Setting | None = None  # the peak
    decay: Setting | None = None
    momentum: Setting | None = None
    rules: Sequence[GroupRule] = ()
    decays: Mapping[str, bool | None] = {}
    decays_outside: bool = False
    options: Mapping[str, Any] = {}


class InputNormalization(NamedTuple):
    """What the recipe does to an image (or other input) right before the network: (x × scale − mean) / std.

    `mean` and `std` are in units after `scale`; `order` is `rgb` or `bgr` as the network is given the channels, None
    where not told; `size` is height, width.
    """

    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    scale: float | None
    order: str | None
    size: tuple[int, int] | None
    at: Place
    inside_network: bool | None = None  # part of the model (mmdet's data_preprocessor), so perhaps of the export


class NormSetting(NamedTuple):
    """A norm layer that the recipe configures: `kind` as written (`BN`, `SyncBN`, `GN`, `LN`), in which module."""

    kind: str
    module: str
    at: Place
    frozen_statistics: bool | None = None  # norm_eval
    frozen_parameters: bool | None = None  # requires_grad=False


class RecipeDropout(NamedTuple):
    """A dropout rate that the recipe states, and the module (dotted path as far as the recipe tells) it is in."""

    rate: float
    module: str
    at: Place
    name: str = "dropout"  # the setting: `attn_drop`, `drop_path_rate`


class Split(NamedTuple):
    """A list of what one side of the split holds: a file the recipe names (relative to the recipe where it is)."""

    role: str
    file: str
    at: Place


@dataclass(frozen=True)
class Recipe:
    """A training recipe. Every field but the first four is what the recipe states, and empty where it is silent."""

    path: str
    dialect: str  # `mmengine`, `openpcdet`, `bevfusion`, `albumentations`, `ultralytics`, `huggingface`, …
    files: Mapping[str, str]  # sha256 of each file that was read, by path; the recipe itself first
    unread: Sequence[Unread] = ()
    pipelines: Sequence[Pipeline] = ()
    sensors: Mapping[str, Setting] = field(default_factory=dict)  # `camera`, `lidar`, `radar` that the model encodes
    labels: Mapping[str, Setting] = field(default_factory=dict)  # by the value of Upon: `boxes-3d`, `velocities`, …
    classes: Sequence[str] | None = None
    classes_at: Place | None = None
    velocity: Setting | None = None  # whether the model predicts velocity (bool)
    tracking: Setting | None = None  # whether it predicts tracks (bool)
    sweeps: Mapping[str, Setting] = field(default_factory=dict)  # by `train`, `val`, `test`, `paste`: how many
    time_channel: Mapping[str, Setting] = field(default_factory=dict)  # by role: whether points carry their lag (bool)
    frames: Mapping[str, Setting] = field(default_factory=dict)  # by role: how many frames a camera model is given
    normalization: Sequence[InputNormalization] = ()
    optimizer: RecipeOptimizer | None = None
    epochs: Setting | None = None
    steps: Setting | None = None  # optimizer steps of the whole schedule
    schedule: Setting | None = None  # its name: `cosine`, `step`, `onecycle`, `constant`
    batch_size: Setting | None = None  # samples on each device and step
    devices: Setting | None = None
    accumulation: Setting | None = None
    cameras: Setting | None = None  # images of a sample that are folded into the batch
    sync_norm: Setting | None = None  # whether norms are synchronized over devices (bool)
    norms: Sequence[NormSetting] = ()
    ema: Setting | None = None  # whether an average of the weights is kept (bool), or its decay
    pretrained: Setting | None = None  # the weights that training starts from
    frozen: Sequence[Setting] = ()  # prefixes of modules that do not learn: `img_backbone.layer1`
    dropouts: Sequence[RecipeDropout] = ()
    splits: Sequence[Split] = ()
    precision: Setting | None = None  # `fp16`, `bf16`, `amp`
    inside: str | None = None  # the checkpoint that holds it; `path` is then the place inside

    def pipeline(self, role: str) -> Sequence[Pipeline]:
        return [pipeline for pipeline in self.pipelines if pipeline.role == role]

    @property
    def training(self) -> Sequence[Pipeline]:
        return self.pipeline("train")

    @property
    def testing(self) -> Sequence[Pipeline]:
        return [pipeline for pipeline in self.pipelines if pipeline.role in ("val", "test")]
