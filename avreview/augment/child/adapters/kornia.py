"""kornia: AugmentationSequential with its data_keys, and single augmentations, on a batch of one."""

from __future__ import annotations

from typing import Any

import numpy as np

from avreview.augment.child.adapters import Adapted, Apply
from avreview.augment.child.adapters.torchvision import image_array
from avreview.augment.child.seeding import seed_everything
from avreview.load.wording import quoted
from avreview.probes.child.refusal import Refused

NAME = "kornia"
# Its keys for our labels. Boxes as four corners, as x1 y1 x2 y2 and as x y w h.
KEYS = {
    "INPUT": "images", "IMAGE": "images", "MASK": "masks", "BBOX": "boxes2d", "BBOX_XYXY": "boxes2d",
    "BBOX_XYWH": "boxes2d", "KEYPOINTS": "keypoints",
}  # fmt: skip
EVERY = ("INPUT", "MASK", "BBOX_XYXY", "KEYPOINTS")


def fits(value: Any) -> bool:
    return any(base.__module__.startswith("kornia.augmentation") for base in type(value).__mro__)


def adapted(value: Any, kind: str | None) -> Adapted:
    """Raises Refused for scenes that are not images, and for data keys that no scene has."""
    if kind not in (None, "image"):
        raise Refused(f"kornia changes images and their labels; it cannot be given a {kind} scene")
    sequence = any(base.__name__ == "AugmentationSequential" for base in type(value).__mro__)
    keys = [_named(key) for key in (getattr(value, "data_keys", None) or EVERY)] if sequence else list(EVERY)
    unknown = [key for key in keys if key not in KEYS]
    if unknown or not {"INPUT", "IMAGE"} & set(keys):
        raise Refused(
            f"its data_keys are {quoted(', '.join(keys))}; scenes have {', '.join(KEYS)}, the image among them"
        )
    given = {KEYS[key] for key in keys}
    lacking = [key for key in ("boxes2d", "masks", "keypoints") if key not in given]
    without = frozenset(lacking) | (
        frozenset(("boxes2d_ids", "boxes2d_names")) if "boxes2d" in lacking else frozenset()
    )
    children = [child for child in value.children() if fits(child)] if sequence else []
    members = [(type(child).__name__, _applying(_sequence(child), keys)) for child in children]
    notes = [f"its data_keys have none of {', '.join(lacking)}, which were not given to it"] if lacking else []
    whole = _applying(value if sequence else _sequence(value), keys)
    return Adapted(NAME, "image", whole, members if len(members) > 1 else (), without=without, notes=notes)


def _named(key: Any) -> str:
    return str(getattr(key, "name", key)).upper()


def _sequence(augmentation: Any) -> Any:
    from kornia.augmentation import AugmentationSequential

    return AugmentationSequential(augmentation, data_keys=list(EVERY))


def _applying(sequence: Any, keys: list[str]) -> Apply:
    def apply(scene: Any, seed: int) -> Any:
        seed_everything(seed)
        results = sequence(*[_given(scene, key) for key in keys], data_keys=[key.lower() for key in keys])
        results = results if isinstance(results, list | tuple) else [results]
        back = dict(scene)
        for key, result in zip(keys, results, strict=True):
            back.update(_returned(key, result))
        return back

    return apply


def _given(scene: Any, key: str) -> Any:
    import torch

    value = np.asarray(scene[KEYS[key]][0] if KEYS[key] == "images" else scene[KEYS[key]], dtype=np.float32)
    if KEYS[key] == "images":
        value = np.moveaxis(value, 2, 0) / 255.0
    elif key == "BBOX_XYWH":
        value = np.concatenate([value[:, :2], value[:, 2:] - value[:, :2]], axis=1)
    elif key == "BBOX":
        value = (value - (0, 0, 1, 1))[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]  # the last pixel inside is named
    return torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))[None]


def _returned(key: str, result: Any) -> dict[str, Any]:
    if KEYS[key] == "images":
        return {"images": [image_array(result)]}
    value = np.asarray(result.detach(), dtype=np.float64)[0]
    if key == "BBOX_XYWH":
        value = np.concatenate([value[:, :2], value[:, :2] + value[:, 2:]], axis=1)
    elif key == "BBOX":
        value = np.concatenate([value.min(axis=1), value.max(axis=1) + 1], axis=1)
    return {KEYS[key]: value}
