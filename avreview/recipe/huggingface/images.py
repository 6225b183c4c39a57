"""What an image processor of transformers does: resizes, crops, rescales, normalizes, pads.

Read from transformers 4.57 and 5 (`image_processing_utils*.py`, `models/*/image_processing_*.py`): the order is that of
every one of them, and each step happens where its `do_…` is true.
"""

from __future__ import annotations

from typing import Any

from avreview.recipe.model import Does, InputNormalization, Pipeline, Step, Upon
from avreview.recipe.placed import Notes, Placed

IMAGE_KEYS = frozenset(
    ("do_resize", "do_normalize", "do_rescale", "image_mean", "image_std", "rescale_factor", "do_center_crop")
)
_STEPS = (
    ("do_resize", "Resize", Does.RESIZE),
    ("do_center_crop", "CenterCrop", Does.CROP),
    ("do_rescale", "Rescale", Does.FORMAT),
    ("do_normalize", "Normalize", Does.NORMALIZE),
    ("do_pad", "Pad", Does.PAD),
)
_SQUARE = ("ViT", "DeiT", "Beit")  # processors that make a square of a single size; others take the shorter edge
_COCO = ("coco_detection", "coco_panoptic")


def preprocessing(root: Placed, notes: Notes) -> tuple[list[Pipeline], list[InputNormalization]]:
    """The steps of a processor, which are the same in training and inference, and what it normalizes by.

    It moves boxes and masks with the image only where it reads annotations (`format: coco_detection`).
    """
    inner = root.get("image_processor")
    node = inner if inner is not None and inner.is_mapping else root
    if not IMAGE_KEYS & node.entries().keys():
        kind = _text(node, "feature_extractor_type") or _text(node, "image_processor_type") or "this processor"
        notes.add(kind, "says nothing of images", node.at)
        return [], []
    form = _text(node, "format")
    labels = {Upon.BOXES_2D, Upon.MASKS} if form in _COCO and _flag(node, "do_convert_annotations") is not False else ()
    upon = frozenset({Upon.IMAGE, *labels})
    steps = []
    for key, name, does in _STEPS:
        stated = node.get(key)
        if stated is not None and stated.value is True:
            changed = upon if does in (Does.RESIZE, Does.CROP, Does.PAD) else frozenset({Upon.IMAGE})
            steps.append(
                Step(name, stated.at, frozenset({does}), changed, is_random=False, options=_options(node, name))
            )
    pipelines = [Pipeline("test", steps, node.at)] if steps else []
    return pipelines, _normalization(node, notes)


def _normalization(node: Placed, notes: Notes) -> list[InputNormalization]:
    if _flag(node, "include_top") is True:
        notes.add("include_top", "divides by the deviation a second time", node.entries()["include_top"].at)
        return []
    mean, std = (_channels(node.get(key), notes) for key in ("image_mean", "image_std"))
    normalizes = _flag(node, "do_normalize")
    if normalizes is None and (mean is None or std is None):
        return []
    if normalizes is False:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    scale = _scale(node, notes, mean if normalizes is not False else None)
    if mean is not None and any(_flag(node, key) is True for key in ("rescale_offset", "offset")):
        mean = tuple(one + 1 for one in mean)  # x × factor - 1, before the mean is subtracted
    at = next(
        (stated.at for key in ("image_mean", "do_normalize", "do_rescale") if (stated := node.get(key)) is not None),
        node.at,
    )
    return [InputNormalization(mean, std, scale, _order(node), _size(node), at, inside_network=False)]


def _scale(node: Placed, notes: Notes, mean: tuple[float, ...] | None) -> float | None:
    """What pixels of 0…255 are multiplied by.

    Files of before 4.25 do not state it: their feature extractors divided by 255 wherever means are below 1.
    """
    rescales, factor = _flag(node, "do_rescale"), notes.number(node.get("rescale_factor"))
    if rescales is False:
        return 1.0
    if factor is not None:
        return factor
    is_old = rescales is None and mean is not None and all(abs(one) <= 1 for one in mean)
    return 1 / 255 if is_old else None


def _order(node: Placed) -> str | None:
    """Processors give RGB; MobileViT's turns it round."""
    flips = _flag(node, "do_flip_channel_order")
    return "bgr" if flips is True else "rgb"


def _size(node: Placed) -> tuple[int, int] | None:
    """Height and width, where both are certain."""
    if _flag(node, "do_center_crop") is True:
        return _pair(node.get("crop_size"), is_square=True)
    if _flag(node, "do_resize") is False:
        return None
    kind = _text(node, "image_processor_type") or _text(node, "feature_extractor_type") or ""
    return _pair(node.get("size"), is_square=kind.startswith(_SQUARE))


def _pair(node: Placed | None, *, is_square: bool) -> tuple[int, int] | None:
    if node is None:
        return None
    if type(node.value) is int and is_square:
        return node.value, node.value
    sides = [side.value for key in ("height", "width") if (side := node.get(key)) is not None]
    return (sides[0], sides[1]) if len(sides) == 2 and all(type(side) is int for side in sides) else None


def _channels(node: Placed | None, notes: Notes) -> tuple[float, ...] | None:
    if node is None:
        return None
    if not node.is_list:
        one = notes.number(node)
        return None if one is None else (one,)
    return notes.numbers(node) or None


def _options(node: Placed, name: str) -> dict[str, Any]:
    keys = {"Resize": ("size", "resample", "size_divisor"), "CenterCrop": ("crop_size",), "Pad": ("pad_size",)}
    return {key: entry.plain() for key in keys.get(name, ()) if (entry := node.get(key)) is not None}


def _flag(node: Placed, key: str) -> bool | None:
    entry = node.get(key)
    return entry.value if entry is not None and isinstance(entry.value, bool) else None


def _text(node: Placed, key: str) -> str | None:
    entry = node.get(key)
    return entry.value if entry is not None and isinstance(entry.value, str) else None
