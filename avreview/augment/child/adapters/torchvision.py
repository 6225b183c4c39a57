"""torchvision: transforms of v2, alone, in a Compose or in modules, on tv_tensors; and those of v1, on images alone.

A transform of v1 never sees boxes, masks or keypoints: they stay as they were, which is what it does to a data set too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from avreview.augment.child.adapters import Adapted, Apply
from avreview.augment.child.returned import kind_of
from avreview.augment.child.seeding import seed_everything
from avreview.probes.child.refusal import Refused

NAME = "torchvision"
FIRST, SECOND = "torchvision.transforms", "torchvision.transforms.v2"
_ONLY_IMAGES = (
    "transforms of torchvision v1 change images and leave labels; where training has no boxes, masks or keypoints, "
    "name them in the factory's avreview_scene under `without`"
)


def fits(value: Any) -> bool:
    return any(_generation(part) for part in _parts(value))


def _generation(value: Any) -> int:
    """2 or 1 for a transform of torchvision's, 0 for anything else."""
    modules = [base.__module__ for base in type(value).__mro__]
    if any(module == SECOND or module.startswith(f"{SECOND}.") for module in modules):
        return 2
    return int(any(module == FIRST or module.startswith(f"{FIRST}.") for module in modules))


def _parts(value: Any, depth: int = 0) -> Iterator[Any]:
    """The value and everything in it, through compositions."""
    yield value
    if depth < 8:
        for _, child in _children(value):
            yield from _parts(child, depth + 1)


def _children(value: Any) -> list[tuple[str, Any]]:
    """The members of a composition, or the modules in a torch module."""
    transforms = getattr(value, "transforms", None)
    if isinstance(transforms, list | tuple):
        return [(type(child).__name__, child) for child in transforms]
    modules = {base.__module__.partition(".")[0] for base in type(value).__mro__}
    if "torch" in modules and hasattr(value, "children"):
        return [(type(child).__name__, child) for child in value.children()]
    return []


def adapted(value: Any, kind: str | None) -> Adapted:
    """Raises Refused for scenes that are not images."""
    if kind not in (None, "image"):
        raise Refused(f"torchvision changes images and their labels; it cannot be given a {kind} scene")
    generations = {found for part in _parts(value) if not _composes(part) and (found := _generation(part))}
    first = 1 in generations
    applying = _on_images if first else _on_tensors
    children = _children(value) if _composes(value) else []
    members = [(name, applying(child)) for name, child in children]
    notes = [_ONLY_IMAGES] if first else []
    return Adapted(NAME, "image", applying(value), members if len(members) > 1 else (), notes=notes)


def _composes(value: Any) -> bool:
    """Whether all members run one after another."""
    return any(base.__name__ in ("Compose", "Sequential") for base in type(value).__mro__)


def _on_tensors(transform: Callable[..., Any]) -> Apply:
    def apply(scene: Any, seed: int) -> Any:
        seed_everything(seed)
        result = transform(_sample(scene))
        if not isinstance(result, Mapping) or "image" not in result:
            raise TypeError(f"given a dict of tv_tensors, it returned {kind_of(result)} instead of one")
        return _scene_back(scene, result)

    return apply


def _sample(scene: Any) -> dict[str, Any]:
    """tv_tensors in a dict, with the objects' numbers as labels, which SanitizeBoundingBoxes looks for."""
    import torch
    from torchvision import tv_tensors

    image = scene["images"][0]
    size = tuple(int(number) for number in image.shape[:2])
    sample: dict[str, Any] = {"image": tv_tensors.Image(torch.from_numpy(np.moveaxis(image, 2, 0).copy()))}
    if "boxes2d" in scene:
        boxes = torch.from_numpy(np.asarray(scene["boxes2d"], dtype=np.float32))
        sample["boxes"] = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size)
        sample["labels"] = torch.from_numpy(np.asarray(scene["boxes2d_ids"]))
    if "masks" in scene:
        sample["masks"] = tv_tensors.Mask(torch.from_numpy(np.asarray(scene["masks"])))
    if "keypoints" in scene and hasattr(tv_tensors, "KeyPoints"):
        points = torch.from_numpy(np.asarray(scene["keypoints"], dtype=np.float32))
        sample["keypoints"] = tv_tensors.KeyPoints(points, canvas_size=size)
    return sample


def _scene_back(scene: Any, result: Mapping[str, Any]) -> dict[str, Any]:
    back = {**scene, "images": [image_array(result["image"])]}
    if "keypoints" in scene:
        back["keypoints"] = np.asarray(result["keypoints"]) if result.get("keypoints") is not None else None
    if result.get("boxes") is None or "boxes2d" not in scene:
        for key in ("boxes2d", "boxes2d_ids", "boxes2d_names"):
            back.pop(key, None)
    else:
        ids = np.asarray(result["labels"]).reshape(-1)
        names = scene["boxes2d_names"]
        back["boxes2d"], back["boxes2d_ids"] = _upright(result["boxes"]), ids
        back["boxes2d_names"] = [names[int(one)] if 0 <= int(one) < len(names) else "" for one in ids]
    if "masks" in scene:
        back["masks"] = None if result.get("masks") is None else np.asarray(result["masks"])
    return back


def image_array(image: Any) -> np.ndarray:
    """[H, W, C] of a tensor [C, H, W], a PIL image or an array. Raises TypeError for anything else."""
    if hasattr(image, "detach"):
        tensor = image.detach().cpu()
        if tensor.ndim == 4 and tensor.shape[0] == 1:
            tensor = tensor[0]
        if tensor.ndim == 3:
            return np.moveaxis(tensor.numpy(), 0, 2)
        return np.asarray(tensor.numpy())
    if isinstance(image, np.ndarray) or hasattr(image, "getbands"):
        return np.asarray(image)
    raise TypeError(f"it returned {kind_of(image)} for one image")


def _upright(boxes: Any) -> np.ndarray:
    """x1 y1 x2 y2 of boxes in the format they came back in."""
    if getattr(boxes, "format", None) is not None:
        from torchvision.transforms.v2 import functional

        boxes = functional.convert_bounding_box_format(boxes, new_format="XYXY")
    return np.asarray(boxes.detach(), dtype=np.float64)


def _on_images(transform: Callable[..., Any]) -> Apply:
    def apply(scene: Any, seed: int) -> Any:
        from PIL import Image

        seed_everything(seed)
        return {**scene, "images": [image_array(transform(Image.fromarray(scene["images"][0])))]}

    return apply
