"""mmdetection3d and projects built on it: a results dict with LiDARInstance3DBoxes, points, images and matrices.

Boxes of mmdetection3d 1.0 and later have their z at the bottom, so that h/2 is added; those before are w, l, h with
r = −yaw − 90°. What a pipeline leaves to the network is read from what it writes down: `img_aug_matrix` and
`lidar_aug_matrix`, or `transformation_3d_flow` with the `pcd_` keys.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from avreview.augment.child.adapters import Adapted, Apply
from avreview.augment.child.returned import BadScene, kind_of, plain
from avreview.augment.child.runs import copied
from avreview.augment.child.seeding import seed_everything
from avreview.load.wording import one_line
from avreview.probes.child.refusal import Refused

IMAGE_SIZE = (900, 1600)  # of nuScenes, for which most of these pipelines are written
# Steps that load or pack, and change nothing: they are not run.
_NO_AUGMENTATION = re.compile(
    r"Load|Pack|Collect|DefaultFormatBundle|PETRFormatBundle|CustomCollect|ToTensor|ImageToTensor"
)
# Steps of camera-only pipelines, which move boxes and matrices and know of no points; and those that do.
_CAMERA_ONLY = re.compile(
    r"GlobalRotScaleTransImage|ResizeCropFlip(Rot)?Image|MultiViewImage|AV2ResizeCropFlipRotImageV2|BEVAug"
)
_OF_POINTS = re.compile(
    r"Point|GlobalRotScaleTrans$|BEVFusionGlobalRotScaleTrans|RandomFlip3D|ObjectSample|ObjectNoise|ObjectPaste|UnifiedObjectSample"
)
_OF_IMAGES = re.compile(r"Im(g|age)|Photo|Resize|Crop|Pad|Normali[sz]e|GridMask|MultiView|BEVAug")
_LIBRARIES = ("mmdet3d", "mmcv", "mmdet", "mmengine")
_TRANSPOSED = re.compile(r"\[['\"]extrinsics['\"]\]\[\w+\]\.T\b")  # PETR keeps extrinsics transposed, StreamPETR not


class Classes(NamedTuple):
    """The box and point classes of the mmdetection3d that is installed."""

    boxes: Callable[..., Any]
    points: Callable[..., Any]
    old: bool  # before 1.0


class Form(NamedTuple):
    """How a generation of pipelines has its cameras: images as arrays or PIL's, sizes, and 2-D boxes per image."""

    pictures: bool = False
    channels: bool = False  # in the shapes
    boxes2d: bool = False
    cameras: bool = True


FORMS = (Form(), Form(channels=True, boxes2d=True), Form(pictures=True), Form(cameras=False))


def fits(value: Any) -> bool:
    """Whether it is a transform or a Compose of the OpenMMLab libraries, or a pipeline of them."""
    steps = _steps(value)
    return bool(steps) and all(_is_transform(step) for step in steps)


def _is_transform(step: Any) -> bool:
    modules = {part for base in type(step).__mro__ for part in base.__module__.split(".")}
    return bool(modules & {*_LIBRARIES, "mmdet3d_plugin"}) and callable(step)


def _steps(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return list(value)
    inner = getattr(value, "transforms", None)
    return list(inner) if type(value).__name__ == "Compose" and isinstance(inner, list | tuple) else [value]


def adapted(value: Any, kind: str | None) -> Adapted:
    """Raises Refused where mmdetection3d is missing, or nothing is left to measure."""
    if kind not in (None, "driving"):
        raise Refused(f"mmdetection3d's pipelines are given single driving scenes, and not the kind {kind}")
    classes = _classes()
    every = _steps(value)
    steps = [step for step in every if not _NO_AUGMENTATION.match(type(step).__name__)]
    if not steps or not all(callable(step) for step in steps):
        raise Refused("the pipeline holds no step that changes anything; give its augmentations")
    names = [type(step).__name__ for step in steps]
    transposed = any(_TRANSPOSED.search(_source(step)) for step in steps)
    members = [(name, _applied([step], classes, transposed)) for name, step in zip(names, steps, strict=True)]
    notes = []
    if len(steps) < len(every):
        left = ", ".join(dict.fromkeys(type(step).__name__ for step in every if step not in steps))
        notes.append(f"not run, for they load or pack: {one_line(left, 120)}")
    camera_only = any(map(_CAMERA_ONLY.search, names)) and not any(map(_OF_POINTS.search, names))
    if camera_only:
        notes.append("given no points: the pipeline is one for cameras alone")
    hidden = frozenset({"bev_map", "boxes2d", "displacement"}) | ({"points"} if camera_only else set())
    if not any(map(_OF_IMAGES.search, names)):
        hidden |= {"images", "lidar2img", "intrinsics"}
        notes.append("given no images: no step of the pipeline is of them")
    return Adapted(
        "mmdet3d", "driving", _applied(steps, classes, transposed), members if len(members) > 1 else (),
        image_size=_image_size(steps), without=frozenset(hidden), notes=notes,
    )  # fmt: skip


def _classes() -> Classes:
    """Raises Refused, with what the import said, where there are none."""
    said = ""
    for boxes, points in (("mmdet3d.structures", "mmdet3d.structures"), ("mmdet3d.core.bbox", "mmdet3d.core.points")):
        try:
            box_module, point_module = importlib.import_module(boxes), importlib.import_module(points)
            version = str(getattr(sys.modules.get("mmdet3d"), "__version__", "1"))
            return Classes(box_module.LiDARInstance3DBoxes, point_module.LiDARPoints, version.startswith("0."))
        except Exception as error:  # noqa: PERF203 - two rounds
            said = said or f"{type(error).__name__}: {one_line(str(error), 160)}"
    raise Refused(f"mmdetection3d cannot be imported ({said}); install it where avreview runs")


def _source(step: Any) -> str:
    try:
        return inspect.getsource(type(step))
    except (OSError, TypeError):
        return ""


def _image_size(steps: Sequence[Any]) -> tuple[int, int]:
    """The size that a step says its images have."""
    for step in steps:
        stated = getattr(step, "data_aug_conf", None)
        stated = stated if isinstance(stated, Mapping) else getattr(step, "data_config", None)
        if isinstance(stated, Mapping) and {"H", "W"} <= set(stated):
            return int(stated["H"]), int(stated["W"])
        if isinstance(stated, Mapping) and "src_size" in stated:
            return int(stated["src_size"][0]), int(stated["src_size"][1])
    return IMAGE_SIZE


def _applied(steps: Sequence[Callable[[Any], Any]], classes: Classes, transposed: bool) -> Apply:
    """Runs the steps on results of the first form that they do not refuse."""
    settled: list[Form] = []

    def once(scene: dict[str, Any], seed: int, form: Form) -> dict[str, Any]:
        seed_everything(seed)
        results = results_of(scene, classes, transposed, form)
        for step in steps:
            results = step(results)
            if not isinstance(results, Mapping):
                raise BadScene(f"{type(step).__name__} returned {kind_of(results)} instead of its results")
        return scene_from(results, scene, classes, transposed)

    def apply(scene: dict[str, Any], seed: int) -> dict[str, Any]:
        if settled:
            return once(scene, seed, settled[0])
        first: Exception | None = None
        for form in FORMS if "images" in scene else FORMS[-1:]:
            try:
                found = once(copied(scene), seed, form)
            except (BadScene, MemoryError):
                raise
            except Exception as error:
                first = first or error
                continue
            settled.append(form)
            return found
        assert first is not None
        raise first

    return apply


def results_of(scene: Mapping[str, Any], classes: Classes, transposed: bool, form: Form) -> dict[str, Any]:
    """A scene as a results dict."""
    names = [str(name) for name in scene["gt_names"]]
    pose = np.array(scene["ego2global"], dtype=np.float32)
    found: dict[str, Any] = {
        "gt_bboxes_3d": _boxes_object(np.asarray(scene["gt_boxes"], dtype=np.float32), classes),
        "gt_labels_3d": np.asarray([sorted(set(names)).index(name) for name in names], dtype=np.int64),
        "gt_names": np.asarray(names), "bbox3d_fields": ["gt_bboxes_3d"], "pts_mask_fields": [], "pts_seg_fields": [],
        "bbox_fields": [], "mask_fields": [], "seg_fields": [], "img_fields": ["img"],
        "box_type_3d": classes.boxes, "box_mode_3d": _lidar_mode(), "timestamp": scene.get("timestamp", 0.0),
        "ego_pose": pose, "ego_pose_inv": np.linalg.inv(pose), "lidar2global": pose.copy(),
        "lidar_aug_matrix": np.eye(4), "sample_idx": "avscene",
    }  # fmt: skip
    if scene.get("points") is not None:
        import torch

        points = torch.from_numpy(np.asarray(scene["points"], dtype=np.float32))
        found["points"] = classes.points(points, points_dim=points.shape[1])
    if form.cameras and scene.get("images") is not None:
        found |= _camera_results(scene, transposed, form)
    return found


def _lidar_mode() -> Any:
    for name in ("mmdet3d.structures", "mmdet3d.core.bbox"):
        mode = getattr(sys.modules.get(name), "Box3DMode", None)
        if mode is not None:
            return mode.LIDAR
    return 0


def _boxes_object(boxes: np.ndarray, classes: Classes) -> Any:
    import torch

    columns = boxes.copy()
    columns[:, 2] -= columns[:, 5] / 2
    if classes.old:
        columns[:, 3:5], columns[:, 6] = boxes[:, [4, 3]], -boxes[:, 6] - np.pi / 2
    return classes.boxes(torch.from_numpy(columns), box_dim=columns.shape[1])


def _camera_results(scene: Mapping[str, Any], transposed: bool, form: Form) -> dict[str, Any]:
    images: list[Any] = [np.asarray(image, dtype=np.float32) for image in scene["images"]]
    height, width = images[0].shape[:2]
    shape: tuple[int, ...] = (height, width, 3) if form.channels else (height, width)
    if form.pictures:
        from PIL import Image

        images = [Image.fromarray(np.asarray(image, dtype=np.uint8)) for image in scene["images"]]
        shape = (width, height)
    intrinsics = [np.array(matrix, dtype=np.float32) for matrix in scene["intrinsics"]]
    lidar2img = [np.array(matrix, dtype=np.float32) for matrix in scene["lidar2img"]]
    outer = [np.linalg.inv(k) @ m for k, m in zip(scene["intrinsics"], scene["lidar2img"], strict=True)]
    lidar2cam = [matrix.astype(np.float32) for matrix in outer]
    many = range(len(images) if form.boxes2d else 0)
    boxes2d = {
        "gt_bboxes": [np.zeros((0, 4), np.float32) for _ in many], "gt_labels": [np.zeros(0, np.int64) for _ in many],
        "centers2d": [np.zeros((0, 2), np.float32) for _ in many], "depths": [np.zeros(0, np.float32) for _ in many],
    } if form.boxes2d else {}  # fmt: skip
    return {
        **boxes2d,
        "img": images, "img_shape": shape, "ori_shape": shape, "pad_shape": shape, "scale_factor": 1.0,
        "num_views": len(images), "filename": [f"camera{number}.jpg" for number in range(len(images))],
        "lidar2img": lidar2img, "intrinsics": intrinsics, "cam2img": [matrix.copy() for matrix in intrinsics],
        "camera_intrinsics": [matrix.copy() for matrix in intrinsics],
        "lidar2image": [matrix.copy() for matrix in lidar2img], "lidar2cam": lidar2cam,
        "extrinsics": [matrix.T.copy() if transposed else matrix.copy() for matrix in lidar2cam],
        "img_norm_cfg": {"mean": np.zeros(3), "std": np.ones(3), "to_rgb": False},
    }  # fmt: skip


def scene_from(
    results: Mapping[str, Any], before: Mapping[str, Any], classes: Classes, transposed: bool
) -> dict[str, Any]:
    """A results dict as a scene, with the matrices that it amounts to."""
    found: dict[str, Any] = {}
    if results.get("gt_bboxes_3d") is not None:
        found["gt_boxes"] = _boxes_from(results["gt_bboxes_3d"], classes)
    points = results.get("points")
    if points is not None and before.get("points") is not None:
        found["points"] = plain(getattr(points, "tensor", points))
    if results.get("img") is not None and before.get("images") is not None:
        found["images"] = [np.asarray(plain(image)) for image in results["img"]]
        found |= _matrices(results, before, transposed)
    stated = results.get("lidar_aug_matrix")
    if stated is not None and not np.allclose(stated, np.eye(4)):
        found["lidar_aug_matrix"] = np.asarray(stated, dtype=np.float64)
    elif not _changed(found.get("lidar2img"), before.get("lidar2img")) and results.get("transformation_3d_flow"):
        found["lidar_aug_matrix"] = flow_matrix(results)
    return found


def _boxes_from(value: Any, classes: Classes) -> np.ndarray:
    boxes = np.array(plain(getattr(value, "tensor", value)), dtype=np.float64)
    if boxes.ndim != 2 or boxes.shape[1] < 7:
        raise BadScene(f"gt_bboxes_3d came back as {kind_of(value)} without seven columns")
    boxes[:, 2] += boxes[:, 5] / 2
    if classes.old:
        boxes[:, 3:5], boxes[:, 6] = boxes[:, [4, 3]], -boxes[:, 6] - np.pi / 2
    return boxes


def _matrices(results: Mapping[str, Any], before: Mapping[str, Any], transposed: bool) -> dict[str, Any]:
    """`lidar2img` as returned, or as the product of what was changed in its place; intrinsics only where changed."""
    found: dict[str, Any] = {}
    stated = results.get("img_aug_matrix")
    if stated is not None:
        found["img_aug_matrix"] = [np.asarray(plain(matrix), dtype=np.float64) for matrix in stated]
    lidar2img = _stack(results.get("lidar2img"))
    if not _changed(lidar2img, before["lidar2img"]):
        for inner, outer in (("cam2img", "lidar2cam"), ("intrinsics", "extrinsics")):
            product = _product(results, inner, outer, transposed and outer == "extrinsics")
            if product is not None and _changed(product, before["lidar2img"]):
                lidar2img = product
                break
    if lidar2img is not None:
        found["lidar2img"] = lidar2img
    for key in ("intrinsics", "cam2img"):
        if stated is None and _changed(_stack(results.get(key)), before["intrinsics"]):
            found["intrinsics"] = _stack(results[key])
            break
    return found


def _product(results: Mapping[str, Any], inner: str, outer: str, transposed: bool) -> np.ndarray | None:
    first, second = _stack(results.get(inner)), _stack(results.get(outer))
    if first is None or second is None or len(first) != len(second):
        return None
    return np.asarray(first @ (second.transpose(0, 2, 1) if transposed else second))


def _stack(value: Any) -> np.ndarray | None:
    """float64[C, 4, 4] of matrices of any size; None where there are none."""
    if value is None:
        return None
    found = []
    for matrix in value:
        matrix = np.asarray(plain(matrix), dtype=np.float64)
        whole = np.eye(4)
        whole[: matrix.shape[0], : matrix.shape[1]] = matrix
        found.append(whole)
    return np.asarray(found) if found else None


def _changed(after: Any, before: Any) -> bool:
    """By more than float32 rounds off."""
    if after is None or before is None or len(after) != len(before):
        return False
    scale = np.abs(np.asarray(before)).max()
    return bool(np.abs(np.asarray(after) - np.asarray(before)).max() > 1e-5 * scale)


def flow_matrix(results: Mapping[str, Any]) -> np.ndarray:
    """float[4, 4] of what `transformation_3d_flow` says was done to the points, in order."""
    whole = np.eye(4)
    for step in results["transformation_3d_flow"]:
        one = np.eye(4)
        if step == "R" and "pcd_rotation" in results:
            one[:3, :3] = np.asarray(plain(results["pcd_rotation"]), dtype=np.float64).T
        elif step == "S":
            one[:3, :3] *= float(results.get("pcd_scale_factor", 1.0))
        elif step == "T":
            one[:3, 3] = np.asarray(plain(results.get("pcd_trans", np.zeros(3))), dtype=np.float64)
        elif step == "HF":
            one[1, 1] = -1.0
        elif step == "VF":
            one[0, 0] = -1.0
        whole = one @ whole
    return whole
