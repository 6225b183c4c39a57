"""OpenPCDet: a DataAugmentor, or functions on (gt_boxes, points) as in its augmentor_utils; and det3d's (CenterPoint).

OpenPCDet's boxes are those of a scene: x y z, length width height, yaw, vx vy, the geometric centre. det3d's are
x y z, width length height, vx vy, r with r = −yaw − 90°; its functions are told by their module, or by an attribute
`avreview_boxes = "det3d"`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from avreview.augment.child.adapters import Adapted, Apply
from avreview.augment.child.adapters.plain import in_a_row, name_of
from avreview.augment.child.returned import BadScene, kind_of
from avreview.augment.child.seeding import seed_everything
from avreview.probes.child.refusal import Refused

_ARRAYS = ("gt_boxes", "roi_boxes", "points")
_KEPT = ("track_ids", "gt_names")  # which its own steps do not know; given back only where they still fit
_GIVEN_NO = frozenset({"images", "lidar2img", "intrinsics", "boxes2d", "bev_map"})


def fits(value: Any) -> bool:
    steps = value if isinstance(value, list | tuple) and value else [value]
    return all(_is_augmentor(step) or _is_dict_step(step) or _on_arrays(step) for step in steps)


def adapted(value: Any, kind: str | None) -> Adapted:
    """Raises Refused for what is none of these."""
    if kind not in (None, "driving"):
        raise Refused(
            f"OpenPCDet's augmentations change driving scenes; they cannot be given a scene of the kind {kind}"
        )
    steps: Sequence[Any] = getattr(value, "data_augmentor_queue", value)
    if not isinstance(steps, list | tuple):
        steps = [steps]
    if not steps or not all(callable(step) for step in steps):
        raise Refused(
            "OpenPCDet's adapter takes a DataAugmentor, or functions on (gt_boxes, points), and there is none"
        )
    members = [(name_of(step), _applied(step)) for step in steps]
    whole = _applied(value.forward) if _is_augmentor(value) else in_a_row([apply for _, apply in members])
    notes = ["given LiDAR points and boxes; OpenPCDet's own steps change no camera"]
    return Adapted("openpcdet", "driving", whole, members if len(members) > 1 else (), without=_GIVEN_NO, notes=notes)


def _is_augmentor(value: Any) -> bool:
    return hasattr(value, "data_augmentor_queue") and hasattr(value, "forward")


def _is_dict_step(value: Any) -> bool:
    """A step of a DataAugmentor: a partial of one of its methods."""
    return _parameter_names(value)[:1] == ["data_dict"]


def _on_arrays(value: Any) -> bool:
    names = _parameter_names(value)
    return "gt_boxes" in names[:3] and "points" in names[:3]


def _parameter_names(value: Any) -> list[str]:
    if not callable(value):
        return []
    try:
        return list(inspect.signature(value).parameters)
    except (TypeError, ValueError):
        return []


def _applied(step: Callable[..., Any]) -> Apply:
    on_arrays = _on_arrays(step)
    old = _is_det3d(step)

    def apply(scene: dict[str, Any], seed: int) -> dict[str, Any]:
        seed_everything(seed)
        boxes = np.asarray(scene["gt_boxes"])
        given = {**scene, "gt_boxes": to_det3d(boxes) if old else boxes, "frame_id": "avscene", "use_lead_xyz": True}
        after = _called(step, given) if on_arrays else _from_dict(step(data_dict=given))
        return _scene(scene, after, old)

    return apply


def _is_det3d(step: Callable[..., Any]) -> bool:
    inner = getattr(step, "func", step)
    module = str(getattr(inner, "__module__", ""))
    return "det3d" in module.split(".") or "det3d" in (
        getattr(step, "avreview_boxes", ""),
        getattr(inner, "avreview_boxes", ""),
    )


def _called(step: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """A function on arrays, which gives them back in the order in which it takes them."""
    order = [name for name in _parameter_names(step) if name in _ARRAYS]
    arrays = {"roi_boxes": given["gt_boxes"][None].copy(), "gt_boxes": given["gt_boxes"], "points": given["points"]}
    returned = step(**{name: arrays[name] for name in order})
    if not isinstance(returned, tuple | list) or len(returned) < len(order):
        raise BadScene(f"returned {kind_of(returned)} instead of ({', '.join(order)})")
    return {**given, **dict(zip(order, returned, strict=False))}


def _from_dict(returned: Any) -> dict[str, Any]:
    if not isinstance(returned, dict):
        raise BadScene(f"returned {kind_of(returned)} instead of its data_dict")
    return returned


def _scene(before: dict[str, Any], after: dict[str, Any], old: bool) -> dict[str, Any]:
    boxes = np.asarray(after["gt_boxes"])
    found: dict[str, Any] = {"points": after["points"], "gt_boxes": from_det3d(boxes) if old else boxes[:, :9]}
    if len(boxes) == len(before["gt_boxes"]):
        found |= {key: after[key] for key in _KEPT if key in after and len(after[key]) == len(boxes)}
    return found


def to_det3d(boxes: np.ndarray) -> np.ndarray:
    """float[N, 9]."""
    columns: np.ndarray = boxes[:, [0, 1, 2, 4, 3, 5, 7, 8, 6]].copy()
    columns[:, 8] = -columns[:, 8] - np.pi / 2
    return columns


def from_det3d(boxes: np.ndarray) -> np.ndarray:
    """float[N, 9]."""
    columns: np.ndarray = boxes[:, [0, 1, 2, 4, 3, 5, 8, 6, 7]].copy()
    columns[:, 6] = -columns[:, 6] - np.pi / 2
    return columns
