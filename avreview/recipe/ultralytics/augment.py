"""What the settings of ultralytics (and YOLOv5) do to images and labels, in the order of its `v8_transforms`.

Read from ultralytics 8.4 (`data/augment.py`, `data/dataset.py`) and YOLOv5 (`utils/dataloaders.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from avreview.recipe.model import Amount, Does, Pipeline, Place, Setting, Step, Upon
from avreview.recipe.placed import Notes, Placed

LABELS = {
    "detect": (Upon.BOXES_2D,),
    "segment": (Upon.BOXES_2D, Upon.MASKS),
    "pose": (Upon.BOXES_2D, Upon.KEYPOINTS),
    "obb": (Upon.BOXES_2D,),
    "semantic": (Upon.MASKS,),
    "classify": (),
    "depth": (),
}
_ALL = frozenset({Upon.IMAGE, Upon.BOXES_2D, Upon.MASKS, Upon.KEYPOINTS})
_IMAGE = frozenset({Upon.IMAGE})
_SEVERAL = (("mosaic", "Mosaic"), ("copy_paste", "CopyPaste"), ("mixup", "MixUp"), ("cutmix", "CutMix"))
_GEOMETRY = ("degrees", "translate", "scale", "shear", "perspective")


class Settings(NamedTuple):
    """The settings of a file, and where to note what of them is wrong."""

    root: Placed
    notes: Notes

    def number(self, key: str) -> float | None:
        return self.notes.number(self.root.get(key))

    def at(self, *keys: str) -> Place:
        """Where the first of some settings stands; the file's beginning where none does."""
        return next((node.at for key in keys if (node := self.root.get(key)) is not None), self.root.at)

    def text(self, key: str) -> str | None:
        node = self.root.get(key)
        return node.value if node is not None and isinstance(node.value, str) else None

    def flag(self, key: str) -> bool:
        node = self.root.get(key)
        return node is not None and node.value is True


def pipelines(settings: Settings, task: str | None, epochs: Setting | None, mirrors: bool | None) -> list[Pipeline]:
    """The training and the validation pipeline. `mirrors` is False where a pose data set without `flip_idx` stops both.

    Settings that the file does not hold have defaults that differ between versions: they give no step.
    """
    if task == "classify":
        train = list(_classification(settings))
    else:
        train = [*_joined(settings, epochs), *_moved(settings), *_coloured(settings)]
        if mirrors is not False:
            train += _mirrored(settings)
        train.append(Step("Format", settings.at("imgsz"), frozenset({Does.FORMAT}), _ALL, is_random=False))
    letterbox = Step(
        "CenterCrop" if task == "classify" else "LetterBox",
        settings.at("imgsz"),
        frozenset({Does.RESIZE, Does.CROP} if task == "classify" else {Does.RESIZE, Does.PAD}),
        _ALL,
        is_random=False,
    )
    return [
        Pipeline("train", train, settings.root.at),
        Pipeline("val", [letterbox], settings.root.at),
    ]


def _joined(settings: Settings, epochs: Setting | None) -> Iterator[Step]:
    """What joins several images; none of it in the last `close_mosaic` epochs, nor on rectangular batches."""
    closed = settings.number("close_mosaic")
    for key, name in _SEVERAL:
        share = settings.number(key)
        if share is None:
            continue
        if settings.flag("rect") and key != "copy_paste":
            share = 0.0
        amounts = {"probability": _share(share)}
        if closed and epochs is not None:
            stop = float(max(0, epochs.value - closed))
            amounts["stop_epoch"] = Amount(stop, stop, "epoch")
        options = {key: share, "close_mosaic": closed}
        yield Step(name, settings.at(key), frozenset({Does.MOSAIC}), _ALL, share > 0, amounts=amounts, options=options)


def _moved(settings: Settings) -> Iterator[Step]:
    """`RandomPerspective`: turned by ± degrees, moved by ± a share, scaled by 1 ± scale, sheared by ± degrees."""
    stated = [key for key in _GEOMETRY if settings.root.get(key) is not None]
    if stated:
        amounts: dict[str, Amount] = {}
        does = set()
        for key, name, unit, what in (
            ("degrees", "rotation", "degree", Does.ROTATE),
            ("translate", "translation", "share", Does.TRANSLATE),
            ("shear", "shear", "degree", Does.SHEAR),
        ):
            extent = settings.number(key)
            if extent:
                amounts[name] = Amount(-abs(extent), abs(extent), unit)
                does.add(what)
        scale = _scale(settings)
        if scale is not None and (scale.low, scale.high) != (1, 1):
            amounts["scale"] = scale
            does.add(Does.SCALE)
        if settings.number("perspective"):
            does.add(Does.WARP)
        options = {key: node.plain() for key in stated if (node := settings.root.get(key)) is not None}
        yield Step(
            "RandomPerspective",
            settings.at(*stated),
            frozenset(does),
            _ALL,
            bool(does),
            amounts=amounts,
            options=options,
        )
    node = settings.root.get("multi_scale")
    extent = 0.5 if node is not None and node.value is True else 0 if node is None or node.value is False else None
    extent = settings.number("multi_scale") if extent is None else extent
    if extent:  # the trainer resizes the batch; labels are relative to it
        amounts = {"scale": Amount(1 - extent, 1 + extent, "ratio")}
        yield Step("multi_scale", settings.at("multi_scale"), frozenset({Does.RESIZE}), _ALL, True, amounts=amounts)


def _scale(settings: Settings) -> Amount | None:
    node = settings.root.get("scale")
    if node is not None and node.is_list:
        pair = settings.notes.numbers(node, 2)
        return None if pair is None else Amount(min(pair), max(pair), "ratio")
    extent = settings.notes.number(node)
    return None if extent is None else Amount(1 - abs(extent), 1 + abs(extent), "ratio")


def _coloured(settings: Settings) -> Iterator[Step]:
    gains = {key: gain for key in ("hsv_h", "hsv_s", "hsv_v") if (gain := settings.number(key)) is not None}
    if gains:
        drawn = any(gains.values())
        does = frozenset({Does.PHOTOMETRIC} if drawn else ())
        yield Step("RandomHSV", settings.at(*gains), does, _IMAGE, drawn, options=gains)
    swapped = settings.number("bgr")
    if swapped:
        amounts = {"probability": _share(swapped)}
        yield Step("bgr", settings.at("bgr"), frozenset({Does.SHUFFLE}), _IMAGE, swapped < 1, amounts=amounts)


def _mirrored(settings: Settings) -> Iterator[Step]:
    """Mirrors change boxes, masks and keypoints; class names they leave as they are."""
    for key, name, direction in (("flipud", "flip_vertical", "vertical"), ("fliplr", "flip_horizontal", "horizontal")):
        share = settings.number(key)
        if share is not None:
            yield Step(
                "RandomFlip",
                settings.at(key),
                frozenset({Does.FLIP} if share > 0 else ()),
                _ALL,
                0 < share < 1,
                amounts={"probability": _share(share), name: _share(share)},
                options={"direction": direction, key: share},
                swaps_classes=False,
            )


def _classification(settings: Settings) -> Iterator[Step]:
    """`classify_augmentations`: a random crop, mirrors, a policy or colour jitter, erasing."""
    crop = frozenset({Does.CROP, Does.RESIZE})
    yield Step("RandomResizedCrop", settings.at("imgsz", "scale"), crop, _IMAGE, True)
    yield from _mirrored(settings)
    policy = settings.text("auto_augment")
    if policy is not None:
        does = frozenset({Does.PHOTOMETRIC, Does.ROTATE, Does.SHEAR, Does.TRANSLATE})
        yield Step(policy, settings.at("auto_augment"), does, _IMAGE, True)
    else:
        yield from _coloured(settings)
    erased = settings.number("erasing")
    if erased is not None:
        amounts = {"probability": _share(erased)}
        yield Step("RandomErasing", settings.at("erasing"), frozenset({Does.DROP}), _IMAGE, erased > 0, amounts=amounts)


def _share(value: float) -> Amount:
    return Amount(value, value, "share")
