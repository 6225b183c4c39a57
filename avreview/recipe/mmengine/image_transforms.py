"""Transforms of images and 2-D labels of mmcv and mmdetection, by class name."""

from __future__ import annotations

from collections.abc import Mapping

from avreview.recipe.mmengine.known import CHANCE, INTERVAL, RANGE, Known, Told, known

_FLAT = "image boxes-2d masks"


def _auto(does: str, upon: str, default: float = 1.0) -> Known:
    """One of mmdetection's automatic augmentations, which all take `prob`."""
    return known(does, upon, Told("probability", "prob", "share", CHANCE, default), random=True)


IMAGE_TRANSFORMS: Mapping[str, Known] = {
    "Resize": known("resize", _FLAT, random=None),
    "FixScaleResize": known("resize", _FLAT),
    "FixShapeResize": known("resize", _FLAT),
    "ResizeShortestEdge": known("resize", _FLAT, random=None),
    "RandomResize": known("resize", _FLAT, Told("scale", "ratio_range", "ratio", INTERVAL), random=None),
    "RandomChoiceResize": known("resize", _FLAT, random=True),
    "RandomFlip": known("flip", _FLAT, random=None),
    "RandomCrop": known("crop", _FLAT, random=True),
    "RandomCenterCropPad": known("crop pad", "image boxes-2d", random=None),
    "MinIoURandomCrop": known("crop", _FLAT, random=True),
    "CenterCrop": known("crop", _FLAT),
    "Expand": known("pad translate", _FLAT, Told("probability", "prob", "share", CHANCE, 0.5), random=True),
    "RandomShift": known("translate", "image boxes-2d", Told("probability", "prob", "share", CHANCE, 0.5), random=True),
    "RandomAffine": known(
        "rotate scale translate shear", "image boxes-2d",
        Told("rotation", "max_rotate_degree", "degree", RANGE, 10.0),
        Told("scale", "scaling_ratio_range", "ratio", INTERVAL, (0.5, 1.5)),
        Told("shear", "max_shear_degree", "degree", RANGE, 2.0), random=True,
    ),
    "Rotate": _auto("rotate", _FLAT),
    "Shear": _auto("shear", _FLAT),
    "ShearX": _auto("shear", _FLAT),
    "ShearY": _auto("shear", _FLAT),
    "Translate": _auto("translate", _FLAT),
    "TranslateX": _auto("translate", _FLAT),
    "TranslateY": _auto("translate", _FLAT),
    "GeomTransform": _auto("rotate shear translate", _FLAT),
    "RandomErasing": known("drop", _FLAT, random=True),
    "CutOut": known("drop", "image", random=True),
    "Mosaic": _auto("mosaic", "image boxes-2d"),
    "MixUp": known("mosaic flip scale", "image boxes-2d", random=True),
    "CachedMosaic": _auto("mosaic", _FLAT),
    "CachedMixUp": _auto("mosaic flip scale", _FLAT),
    "CopyPaste": known("mosaic", _FLAT, random=True),
    "SimpleCopyPaste": known("mosaic", _FLAT, random=True),
    "PhotoMetricDistortion": known("photometric", "image", random=True),
    "YOLOXHSVRandomAug": known("photometric", "image", random=True),
    "RandomGrayscale": _auto("photometric", "image", 0.1),
    "ColorTransform": _auto("photometric", "image"),
    "ColorJitter": known("photometric", "image", random=True),
    "Color": _auto("photometric", "image"),
    "Brightness": _auto("photometric", "image"),
    "Contrast": _auto("photometric", "image"),
    "Sharpness": _auto("photometric", "image"),
    "Solarize": _auto("photometric", "image"),
    "SolarizeAdd": _auto("photometric", "image"),
    "Posterize": _auto("photometric", "image"),
    "Equalize": _auto("photometric", "image"),
    "AutoContrast": _auto("photometric", "image"),
    "Invert": _auto("photometric", "image"),
    "BrightnessTransform": _auto("photometric", "image"),
    "ContrastTransform": _auto("photometric", "image"),
    "EqualizeTransform": _auto("photometric", "image"),
    "Corrupt": known("photometric", "image"),
    "RandAugment": known("other", _FLAT, random=True),
    "Normalize": known("normalize", "image"),
    "Pad": known("pad", "image masks"),
    "FilterAnnotations": known("label-filter", "boxes-2d masks"),
    "InstaBoost": known("mosaic", _FLAT, random=True),
    "RandomOrder": known("shuffle", random=True),
    "YOLOv5RandomAffine": known(
        "rotate scale translate shear", _FLAT,
        Told("rotation", "max_rotate_degree", "degree", RANGE, 10.0),
        Told("scale", "scaling_ratio_range", "ratio", INTERVAL, (0.5, 1.5)),
        Told("shear", "max_shear_degree", "degree", RANGE, 2.0), random=True,
    ),
    "YOLOv5MixUp": known("mosaic", "image boxes-2d", Told("probability", "prob", "share", CHANCE, 1.0), random=True),
    "YOLOXMixUp": known("mosaic flip scale", "image boxes-2d", random=True),
    "YOLOv5CopyPaste": _auto("mosaic", _FLAT, 0.5),
    "Mosaic9": _auto("mosaic", _FLAT),
    "PPYOLOERandomDistort": _auto("photometric", "image", 0.5),
    "PPYOLOERandomCrop": known("crop", _FLAT, random=True),
    "RandomRotate": known(
        "rotate", _FLAT, Told("probability", "prob", "share", CHANCE, 0.5),
        Told("rotation", "angle_range", "degree", RANGE, 180), random=None,
    ),
    "ConvertBoxType": known("other", "boxes-2d"),
    "RegularizeRotatedBox": known("other", "boxes-2d"),
    "Polygon2Mask": known("other", "masks"),
    "RemoveDataElement": known("other"),
    "YOLOv5KeepRatioResize": known("resize", _FLAT),
    "LetterResize": known("resize pad", _FLAT),
    "YOLOv5HSVRandomAug": known("photometric", "image", random=True),
}  # fmt: skip
