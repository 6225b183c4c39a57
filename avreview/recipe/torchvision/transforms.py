"""The transforms of torchvision (v1 and v2, to 0.24) and of kornia (0.8): what each does, and to what.

v1 changes nothing but the image it is given. v2 moves boxes, masks and keypoints that are `tv_tensors` with it. kornia
moves what an `AugmentationSequential` has among its `data_keys`.
"""

from __future__ import annotations

from collections.abc import Mapping

from avreview.recipe.image_steps import Composition, Library, Range, Transform
from avreview.recipe.model import Does, Upon

_IMAGE = frozenset({Upon.IMAGE})
_ALL = frozenset({Upon.IMAGE, Upon.MASKS, Upon.BOXES_2D, Upon.KEYPOINTS})
_DEGREES = Range("rotation", ("degrees",), "degree")
_AFFINE = (
    _DEGREES,
    Range("translation", ("translate",), "share", "extents"),
    Range("scale", ("scale",), "ratio"),
    Range("shear", ("shear",), "degree"),
)
_AFFINE_DOES = frozenset({Does.ROTATE, Does.TRANSLATE, Does.SCALE, Does.SHEAR})


def _rows(names: str, row: Transform) -> dict[str, Transform]:
    return dict.fromkeys(names.split(), row)


def _does(*does: Does) -> frozenset[Does]:
    return frozenset(does)


_POLICIES = _does(Does.PHOTOMETRIC, Does.ROTATE, Does.TRANSLATE, Does.SHEAR)
_LABELS = "ClampBoundingBoxes ClampKeyPoints ConvertBoundingBoxFormat SetClampingMode SanitizeKeyPoints"
_FORMATS = (
    "ToTensor PILToTensor ToPILImage ConvertImageDtype ToDtype ToImage ToPureTensor ConvertDtype ToImageTensor RGB"
)

TORCHVISION: Mapping[str, Transform] = {
    **_rows(_FORMATS, Transform(_does(Does.FORMAT), _IMAGE, 1.0, is_fixed=True, positions=("dtype", "scale"))),
    **_rows("Normalize", Transform(_does(Does.NORMALIZE), _IMAGE, 1.0, is_fixed=True, positions=("mean", "std"))),
    **_rows("LinearTransformation", Transform(_does(Does.NORMALIZE), _IMAGE, 1.0, is_fixed=True)),
    **_rows("Identity", Transform(_does(Does.OTHER), _ALL, 1.0, is_fixed=True)),
    **_rows(_LABELS, Transform(_does(Does.OTHER), _ALL, 1.0, is_fixed=True)),
    **_rows("SanitizeBoundingBoxes", Transform(_does(Does.LABEL_FILTER), _ALL, 1.0, is_fixed=True)),
    **_rows("UniformTemporalSubsample", Transform(_does(Does.DROP_FRAMES), _ALL, 1.0, is_fixed=True)),
    **_rows("ColorJitter GaussianBlur GaussianNoise JPEG", Transform(_does(Does.PHOTOMETRIC), _IMAGE, 1.0)),
    **_rows("Grayscale", Transform(_does(Does.PHOTOMETRIC), _IMAGE, 1.0, is_fixed=True)),
    **_rows("RandomGrayscale", Transform(_does(Does.PHOTOMETRIC), _IMAGE, 0.1, is_fixed=True, positions=("p",))),
    **_rows("RandomInvert RandomAutocontrast RandomEqualize",
            Transform(_does(Does.PHOTOMETRIC), _IMAGE, is_fixed=True, positions=("p",))),
    **_rows("RandomPosterize RandomSolarize RandomAdjustSharpness",
            Transform(_does(Does.PHOTOMETRIC), _IMAGE, is_fixed=True, positions=("strength", "p"))),
    **_rows("RandomPhotometricDistort", Transform(_does(Does.PHOTOMETRIC), _IMAGE, 1.0)),
    **_rows("RandomChannelPermutation", Transform(_does(Does.SHUFFLE, Does.PHOTOMETRIC), _IMAGE, 1.0)),
    **_rows("RandomErasing", Transform(_does(Does.DROP), _IMAGE, positions=("p", "scale", "ratio"))),
    **_rows("AutoAugment RandAugment TrivialAugmentWide AugMix", Transform(_POLICIES, _IMAGE, 1.0)),
    **_rows("MixUp CutMix", Transform(_does(Does.MOSAIC), _IMAGE, 1.0)),
    **_rows("SimpleCopyPaste", Transform(_does(Does.MOSAIC), _ALL, 1.0)),
    # Geometry
    **_rows("RandomHorizontalFlip",
            Transform(_does(Does.FLIP), _ALL, is_fixed=True, mirrors=(1, 0), positions=("p",))),
    **_rows("RandomVerticalFlip",
            Transform(_does(Does.FLIP), _ALL, is_fixed=True, mirrors=(0, 1), positions=("p",))),
    **_rows("RandomRotation", Transform(_does(Does.ROTATE), _ALL, 1.0, ranges=(_DEGREES,), positions=("degrees",))),
    **_rows("RandomAffine", Transform(_AFFINE_DOES, _ALL, 1.0, ranges=_AFFINE,
                                      positions=("degrees", "translate", "scale", "shear"))),
    **_rows("RandomPerspective", Transform(_does(Does.WARP), _ALL, positions=("distortion_scale", "p"))),
    **_rows("ElasticTransform", Transform(_does(Does.WARP), _ALL, 1.0)),
    **_rows("Resize Scale", Transform(_does(Does.RESIZE), _ALL, 1.0, is_fixed=True, positions=("size",))),
    **_rows("RandomResize RandomShortestSize ScaleJitter", Transform(_does(Does.RESIZE), _ALL, 1.0)),
    **_rows("CenterCrop FiveCrop TenCrop",
            Transform(_does(Does.CROP), _ALL, 1.0, is_fixed=True, positions=("size",))),
    **_rows("RandomCrop", Transform(_does(Does.CROP), _ALL, 1.0, positions=("size", "padding"))),
    **_rows("RandomIoUCrop FixedSizeCrop", Transform(_does(Does.CROP), _ALL, 1.0)),
    **_rows("RandomResizedCrop RandomSizedCrop",
            Transform(_does(Does.CROP, Does.RESIZE), _ALL, 1.0, positions=("size", "scale", "ratio"))),
    **_rows("RandomZoomOut", Transform(_does(Does.PAD), _ALL)),
    **_rows("Pad", Transform(_does(Does.PAD), _ALL, 1.0, is_fixed=True, positions=("padding",))),
}  # fmt: skip
TORCHVISION_LIBRARY = Library(
    TORCHVISION,
    {
        "Compose": Composition(),
        "Sequential": Composition(),
        "RandomOrder": Composition(),
        "RandomApply": Composition("all", 0.5),
        "RandomChoice": Composition("any"),
    },
    frozenset(("Compose", "Sequential")),
)

_COLOURS = """
    ColorJiggle ColorJitter RandomAutoContrast RandomBoxBlur RandomBrightness RandomClahe RandomContrast
    RandomDissolving RandomEqualize RandomGamma RandomGaussianBlur RandomGaussianIllumination RandomGaussianNoise
    RandomGrayscale RandomHue RandomInvert RandomJPEG RandomLinearCornerIllumination RandomLinearIllumination
    RandomMedianBlur RandomMotionBlur RandomPlanckianJitter RandomPlasmaBrightness RandomPlasmaContrast
    RandomPlasmaShadow RandomPosterize RandomRain RandomRGBShift RandomSaltAndPepperNoise RandomSaturation
    RandomSharpness RandomSnow RandomSolarize RandomChannelShuffle
"""
_JOINED = "RandomCutMixV2 RandomMixUpV2 RandomMosaic RandomJigsaw RandomTransplantation PatchMix"
KORNIA: Mapping[str, Transform] = {
    **_rows(_COLOURS, Transform(_does(Does.PHOTOMETRIC), _IMAGE)),
    **_rows("RandomErasing RandomChannelDropout", Transform(_does(Does.DROP), _IMAGE)),
    **_rows(_JOINED, Transform(_does(Does.MOSAIC), _ALL)),
    **_rows("Normalize", Transform(_does(Does.NORMALIZE), _IMAGE, 1.0, is_fixed=True, positions=("mean", "std"))),
    **_rows("Denormalize", Transform(_does(Does.OTHER), _IMAGE, 1.0, is_fixed=True)),
    **_rows("RandomHorizontalFlip", Transform(_does(Does.FLIP), _ALL, is_fixed=True, mirrors=(1, 0))),
    **_rows("RandomVerticalFlip", Transform(_does(Does.FLIP), _ALL, is_fixed=True, mirrors=(0, 1))),
    **_rows("RandomRotation", Transform(_does(Does.ROTATE), _ALL, ranges=(_DEGREES,), positions=("degrees",))),
    **_rows("RandomRotation90", Transform(_does(Does.ROTATE), _ALL)),
    **_rows("RandomAffine", Transform(_AFFINE_DOES, _ALL, ranges=_AFFINE,
                                      positions=("degrees", "translate", "scale", "shear"))),
    **_rows("RandomShear", Transform(_does(Does.SHEAR), _ALL, positions=("shear",))),
    **_rows("RandomTranslate", Transform(_does(Does.TRANSLATE), _ALL)),
    **_rows("RandomPerspective RandomElasticTransform RandomFisheye RandomThinPlateSpline",
            Transform(_does(Does.WARP), _ALL)),
    **_rows("Resize LongestMaxSize SmallestMaxSize",
            Transform(_does(Does.RESIZE), _ALL, 1.0, is_fixed=True, positions=("size",))),
    **_rows("CenterCrop", Transform(_does(Does.CROP), _ALL, 1.0, is_fixed=True, positions=("size",))),
    **_rows("PadTo", Transform(_does(Does.PAD), _ALL, 1.0, is_fixed=True, positions=("size",))),
    **_rows("RandomCrop", Transform(_does(Does.CROP), _ALL, 1.0, positions=("size", "padding"))),
    **_rows("RandomResizedCrop",
            Transform(_does(Does.CROP, Does.RESIZE), _ALL, 1.0, positions=("size", "scale", "ratio"))),
}  # fmt: skip
KORNIA_LIBRARY = Library(
    KORNIA,
    {name: Composition() for name in ("AugmentationSequential", "ImageSequential", "Sequential", "VideoSequential")},
    frozenset(("AugmentationSequential", "ImageSequential", "Sequential", "VideoSequential")),
)
