"""albumentations 1.x and 2.x and AlbumentationsX: Compose objects, single transforms, and files as A.save writes them.

Boxes, masks and keypoints are given in the formats that the pipeline itself names; which object a box or keypoint is of
travels in the first label field, or in a column behind the coordinates where there is none. Without `bbox_params` a
pipeline has no boxes, and is given none.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from avreview.augment.child.adapters import Adapted, Apply
from avreview.augment.child.seeding import seed_everything
from avreview.load.wording import quoted
from avreview.probes.child.refusal import Refused

NAME = "albumentations"
MOST_BYTES = 4 << 20  # of a file
LEAST_VISIBLE = 0.1  # of a box, where a single transform comes without bbox_params
# The columns of a keypoint by its format: u, v, and values that mean no turn and no change of size for the rest.
KEYPOINTS = {"xy": "uv", "yx": "vu", "xya": "uv0", "xys": "uv1", "xyas": "uv01", "xysa": "uv10", "xyz": "uv0"}


class Fields(NamedTuple):
    """How a pipeline wants boxes or keypoints: their format, and the names of their label fields."""

    form: str
    labels: Sequence[str]


def fits(value: Any) -> bool:
    return any(
        base.__module__.partition(".")[0] == NAME and base.__name__ in ("BaseCompose", "BasicTransform")
        for base in type(value).__mro__
    )


def adapted(value: Any, kind: str | None) -> Adapted:
    """Raises Refused for what is no transform, and for scenes that are not images."""
    if kind not in (None, "image"):
        raise Refused(f"albumentations changes images and their labels; it cannot be given a {kind} scene")
    if not fits(value):
        raise Refused(f"a {type(value).__name__} is no albumentations transform")
    notes = []
    processors = getattr(value, "processors", None) or {}
    if not _is(value, "Compose"):
        processors = _own_processors()
        notes.append(f"given boxes with min_visibility={LEAST_VISIBLE} and keypoints, since it stands in no Compose")
        whole = _composed([value], processors)
    else:
        whole = value
        notes += [f"the pipeline has no {name}_params, and was given no {what}" for name, what in _lacking(processors)]
    boxes, points = _fields(processors, "bboxes"), _fields(processors, "keypoints")
    _refuse_unknown(processors, boxes, points)
    children = list(getattr(value, "transforms", ())) if _in_a_row(value) else []
    members = [
        (type(child).__name__, _applying(_composed([copy.deepcopy(child)], processors), boxes, points))
        for child in children
    ]
    without = {key for key, fields in (("boxes2d", boxes), ("keypoints", points)) if fields is None}
    if "boxes2d" in without:
        without |= {"boxes2d_ids", "boxes2d_names"}
    apply = _applying(whole, boxes, points)
    return Adapted(NAME, "image", apply, members if len(members) > 1 else (), None, frozenset(without), notes)


def from_file(path: str, kind: str | None) -> Adapted:
    """A pipeline from JSON or YAML. Raises Refused."""
    data = _read(path)
    try:
        import albumentations
    except ImportError:
        raise Refused(
            f"{quoted(path)} is an albumentations pipeline, and albumentations cannot be imported; install it "
            "(pip install albumentations), or AlbumentationsX with the torch it needs"
        ) from None
    data = {**data, "transform": _named_as_installed(albumentations, data["transform"])}
    try:
        value = albumentations.from_dict(data)
    except Exception as error:
        wrote, here = data.get("__version__"), albumentations.__version__
        raise Refused(
            f"albumentations {here} cannot build {quoted(path)}, which version {quoted(str(wrote))} wrote: "
            f"{type(error).__name__}: {quoted(str(error))}"
        ) from None
    return adapted(value, kind)


def _read(path: str) -> dict[str, Any]:
    import json

    try:
        with open(path, "rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise Refused(f"{quoted(path)} cannot be read: {error.strerror}") from None
    if len(text) > MOST_BYTES:
        raise Refused(f"{quoted(path)} is larger than {MOST_BYTES >> 20} MiB, which no pipeline is")
    try:
        data = json.loads(text) if text.lstrip()[:1] == b"{" else _yaml(text)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{quoted(path)} is neither JSON nor YAML: {quoted(str(error))}") from None
    if not isinstance(data, dict) or not isinstance(data.get("transform"), dict):
        raise Refused(f"{quoted(path)} holds no `transform`, as a file that A.save wrote does")
    return data


def _yaml(text: bytes) -> Any:
    import yaml

    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _named_as_installed(library: Any, transform: Mapping[str, Any]) -> dict[str, Any]:
    """With `format` called `coord_format` or the other way round, as the installed version calls it."""
    result = dict(transform)
    for key, made in (("bbox_params", library.BboxParams), ("keypoint_params", library.KeypointParams)):
        params = result.get(key)
        if isinstance(params, Mapping):
            taken = inspect.signature(made.__init__).parameters
            other = {"format": "coord_format", "coord_format": "format"}
            result[key] = {
                (other[name] if name in other and name not in taken else name): value for name, value in params.items()
            }
    return result


def _own_processors() -> dict[str, Any]:
    import albumentations

    boxes, points = albumentations.BboxParams, albumentations.KeypointParams
    key = "coord_format" if "coord_format" in inspect.signature(boxes.__init__).parameters else "format"
    return {
        "bboxes": boxes(**{key: "pascal_voc"}, label_fields=["ids"], min_visibility=LEAST_VISIBLE),
        "keypoints": points(**{key: "xy"}, label_fields=["points"]),
    }


def _composed(transforms: Sequence[Any], processors: Mapping[str, Any]) -> Any:
    import albumentations

    params = {name: copy.deepcopy(_params(processors, name)) for name in ("bboxes", "keypoints")}
    return albumentations.Compose(transforms, bbox_params=params["bboxes"], keypoint_params=params["keypoints"])


def _params(processors: Mapping[str, Any], name: str) -> Any:
    found = processors.get(name)
    return getattr(found, "params", found)


def _fields(processors: Mapping[str, Any], name: str) -> Fields | None:
    params = _params(processors, name)
    if params is None:
        return None
    return Fields(str(getattr(params, "coord_format", None) or params.format), list(params.label_fields or ()))


def _lacking(processors: Mapping[str, Any]) -> list[tuple[str, str]]:
    pairs = (("bboxes", "bbox", "boxes"), ("keypoints", "keypoint", "keypoints"))
    return [(name, what) for key, name, what in pairs if _params(processors, key) is None]


def _refuse_unknown(processors: Mapping[str, Any], boxes: Fields | None, points: Fields | None) -> None:
    if boxes is not None and boxes.form not in ("pascal_voc", "albumentations", "coco", "yolo", "cxcywh"):
        raise Refused(f"the bbox format {quoted(boxes.form)} is not known")
    if getattr(_params(processors, "bboxes"), "bbox_type", "hbb") != "hbb":
        raise Refused("oriented boxes (bbox_type='obb') are not modelled; measure it with upright ones")
    if points is not None and points.form not in KEYPOINTS:
        raise Refused(f"the keypoint format {quoted(points.form)} is not known")


def _in_a_row(value: Any) -> bool:
    """Whether the members of a composition all run, one after another."""
    return _is(value, "Compose", "Sequential")


def _is(value: Any, *names: str) -> bool:
    return any(base.__name__ in names for base in type(value).__mro__)


def _applying(pipeline: Any, boxes: Fields | None, points: Fields | None) -> Apply:
    stacked, needs_mask = _stacks_masks(), _needs_mask(pipeline)

    def apply(scene: Any, seed: int) -> Any:
        seed_everything(seed)
        if hasattr(pipeline, "set_random_seed"):
            pipeline.set_random_seed(seed)
        image = scene["images"][0]
        given: dict[str, Any] = {"image": image}
        if "masks" in scene:
            given["masks"] = masks = np.ascontiguousarray(scene["masks"])
            if not stacked:
                given["masks"] = list(masks)
            if needs_mask:
                given["mask"] = (masks * np.arange(1, len(masks) + 1, dtype=np.uint8)[:, None, None]).max(axis=0)
        if boxes is not None and "boxes2d" in scene:
            given |= _boxes_given(scene, boxes, image.shape[:2])
        if points is not None and "keypoints" in scene:
            given |= _points_given(scene, points)
        return _scene_back(scene, pipeline(**given), boxes, points)

    return apply


def _stacks_masks() -> bool:
    """AlbumentationsX takes masks as one array; albumentations, in all its transforms, only as a list."""
    import albumentations

    return "coord_format" in inspect.signature(albumentations.BboxParams.__init__).parameters


def _needs_mask(transform: Any, depth: int = 0) -> bool:
    """Whether a transform draws from one mask of all objects."""
    if "mask" in (getattr(transform, "targets_as_params", None) or ()):
        return True
    children = getattr(transform, "transforms", None)
    return depth < 8 and isinstance(children, list | tuple) and any(_needs_mask(one, depth + 1) for one in children)


def _boxes_given(scene: Any, fields: Fields, size: Sequence[int]) -> dict[str, Any]:
    found = encoded(np.asarray(scene["boxes2d"], dtype=np.float64), fields.form, size)
    ids = np.asarray(scene.get("boxes2d_ids", np.arange(len(found))))
    if not fields.labels:
        return {"bboxes": np.concatenate([found, ids[:, None]], axis=1)}
    return {"bboxes": found, **{name: ids.tolist() for name in fields.labels}}


def _points_given(scene: Any, fields: Fields) -> dict[str, Any]:
    places = np.asarray(scene["keypoints"], dtype=np.float32)
    columns: dict[str, np.ndarray] = {
        "u": places[:, 0],
        "v": places[:, 1],
        "0": np.zeros(len(places)),
        "1": np.ones(len(places)),
    }
    found = np.stack([columns[name] for name in KEYPOINTS[fields.form]], axis=1).astype(np.float32)
    numbers = np.arange(len(places))
    if not fields.labels:
        return {"keypoints": np.concatenate([found, numbers[:, None].astype(np.float32)], axis=1)}
    return {"keypoints": found, **{name: numbers.tolist() for name in fields.labels}}


def _scene_back(scene: Any, result: Mapping[str, Any], boxes: Fields | None, points: Fields | None) -> dict[str, Any]:
    image = result["image"]
    back = {**scene, "images": [image]}
    if "masks" in scene:
        back["masks"] = _masks_back(result.get("masks"))
    if boxes is not None and "boxes2d" in scene:
        rows = np.asarray(result["bboxes"], dtype=np.float64)
        rows = rows.reshape(len(rows), -1) if rows.size else rows.reshape(0, 5)
        ids = np.asarray(result[boxes.labels[0]] if boxes.labels else rows[:, 4]).reshape(-1)
        names = scene.get("boxes2d_names")
        back["boxes2d"] = decoded(rows[:, :4], boxes.form, _size(image))
        back["boxes2d_ids"] = ids
        if names is not None:
            back["boxes2d_names"] = [names[int(one)] if 0 <= int(one) < len(names) else "" for one in ids]
    if points is not None and "keypoints" in scene:
        back["keypoints"] = _points_back(result, points, len(scene["keypoints"]))
    return back


def _size(image: Any) -> tuple[int, int]:
    """Height and width, also of a tensor [C, H, W]."""
    first, second, *rest = image.shape
    return (int(second), int(rest[0])) if rest and hasattr(image, "detach") else (int(first), int(second))


def _masks_back(masks: Any) -> Any:
    if masks is None:
        return None
    rows = [_plain(mask) for mask in masks]
    return np.stack(rows) if rows else None


def _plain(mask: Any) -> np.ndarray:
    """[H, W] of a mask that may be a tensor, or have an axis of one channel."""
    row = np.asarray(mask.detach() if hasattr(mask, "detach") else mask)
    return row[..., 0] if row.ndim == 3 and row.shape[-1] == 1 else row


def _points_back(result: Mapping[str, Any], fields: Fields, count: int) -> np.ndarray:
    rows = np.asarray(result["keypoints"], dtype=np.float64)
    form, places = KEYPOINTS[fields.form], np.full((count, 2), np.nan)
    rows = rows.reshape(len(rows), -1) if rows.size else rows.reshape(0, len(form) + 1)
    numbers = np.asarray(result[fields.labels[0]] if fields.labels else rows[:, len(form)], dtype=np.float64).reshape(
        -1
    )
    many = np.bincount(np.clip(np.nan_to_num(numbers), 0, count).astype(int), minlength=count + 1)
    known = (numbers >= 0) & (numbers < count)
    known &= many[np.where(known, numbers, count).astype(int)] == 1  # a reflected border may repeat a keypoint
    places[numbers[known].astype(int)] = rows[known][:, [form.index("u"), form.index("v")]]
    return places


def encoded(boxes: np.ndarray, form: str, size: Sequence[int]) -> np.ndarray:
    """x1 y1 x2 y2 px in a format of albumentations."""
    if form in ("albumentations", "yolo"):
        boxes = boxes / (size[1], size[0], size[1], size[0])
    low, high = boxes[:, :2], boxes[:, 2:4]
    if form in ("yolo", "cxcywh"):
        return np.concatenate([(low + high) / 2, high - low], axis=1)
    return np.concatenate([low, high - low], axis=1) if form == "coco" else boxes


def decoded(boxes: np.ndarray, form: str, size: Sequence[int]) -> np.ndarray:
    """The inverse of `encoded`, in an image of (height, width)."""
    if form in ("yolo", "cxcywh"):
        boxes = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
    elif form == "coco":
        boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    return boxes * (size[1], size[0], size[1], size[0]) if form in ("albumentations", "yolo") else boxes
