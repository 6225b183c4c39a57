"""The transforms of albumentations (0.5 to 2.0) and AlbumentationsX (2.5): what each does, and to what.

Read from the libraries' own `_targets` and signatures; `Flip`, `Cutout`, the IAA family and others are of 0.x and 1.x.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avreview.recipe.image_steps import Composition, Library, Range, Transform
from avreview.recipe.model import Does, Upon

IMAGE = frozenset({Upon.IMAGE})
MASK = frozenset({Upon.IMAGE, Upon.MASKS})
VOLUME = frozenset({Upon.IMAGE, Upon.MASKS, Upon.KEYPOINTS})
ALL = frozenset({Upon.IMAGE, Upon.MASKS, Upon.BOXES_2D, Upon.KEYPOINTS})


_PHOTOMETRIC = """
    AdditiveNoise AdvancedBlur AnnotationArtifacts AtmosphericFog AutoContrast BiasField Blur CLAHE
    ChromaticAberration ColorJitter Colorize Defocus Dithering Downscale Emboss Enhance Equalize ExposureMatching FDA
    FancyPCA FilmGrain GaussNoise GaussianBlur GibbsRinging GhostingArtifact GlassBlur Halftone HEStain
    HistogramMatching HueSaturationValue ISONoise Illumination ImageCompression InvertImg JpegCompression
    KSpaceSpikeNoise LensFlare MedianBlur ModeFilter MotionBlur MotionArtifact MultiplicativeNoise PhotoMetricDistort
    PixelDistributionAdaptation PlanckianJitter PlasmaBrightnessContrast PlasmaShadow Posterize RGBShift
    RandomBrightness RandomBrightnessContrast RandomContrast RandomFog RandomGamma RandomGravel RandomRain
    RandomShadow RandomSnow RandomSunFlare RandomToneCurve RicianNoise RingingOvershoot SaltAndPepper Sharpen ShotNoise
    Solarize Spatter StochasticConvolution Superpixels TemplateTransform TextImage ToGray ToSepia UnsharpMask Vignetting
    ZoomBlur Anisotropy3D IAAAdditiveGaussianNoise IAAEmboss IAASharpen IAASuperpixels
"""
_CROPS = """
    AtLeastOneBBoxRandomCrop BBoxSafeRandomCrop BBoxSubsetSafeRandomCrop CropNonEmptyMaskIfExists RandomCrop
    RandomCropFromBorders RandomCropNearBBox
"""
_RESIZED_CROPS = "RandomResizedCrop RandomSizedBBoxSafeCrop RandomSizedCrop"
_WARPS = """
    ElasticTransform GridDistortion OpticalDistortion PiecewiseAffine ThinPlateSpline WaterRefraction PixelSpread
    RandomGridShuffle Perspective IAAPerspective IAAPiecewiseAffine
"""
_DROPS = """
    CoarseDropout ConstrainedCoarseDropout Erasing GridDropout GridMask GuidedCoarseDropout MaskDropout PixelDropout
    XYMasking FrequencyMasking TimeMasking
"""
_FIXED_PHOTOMETRIC = ("Equalize", "InvertImg", "ToGray", "ToSepia", "AutoContrast")


def _rows(names: str, row: Transform) -> dict[str, Transform]:
    return dict.fromkeys(names.split(), row)


def _does(*does: Does) -> frozenset[Does]:
    return frozenset(does)


_ROTATION = Range("rotation", ("limit", "angle_range"), "degree")
_SHIFTS = ("shift_limit_x", "shift_limit_y", "shift_limit", "shift_range_x", "shift_range_y", "shift_range")

TRANSFORMS: Mapping[str, Transform] = {
    **_rows(_PHOTOMETRIC, Transform(_does(Does.PHOTOMETRIC), IMAGE)),
    **_rows(" ".join(_FIXED_PHOTOMETRIC), Transform(_does(Does.PHOTOMETRIC), IMAGE, is_fixed=True)),
    **_rows("ChannelShuffle", Transform(_does(Does.SHUFFLE, Does.PHOTOMETRIC), IMAGE)),
    **_rows("ChannelSwap", Transform(_does(Does.SHUFFLE, Does.PHOTOMETRIC), IMAGE, is_fixed=True)),
    **_rows("ChannelDropout Cutout", Transform(_does(Does.DROP), IMAGE)),
    **_rows("Morphological", Transform(_does(Does.PHOTOMETRIC), ALL)),
    **_rows("Normalize", Transform(_does(Does.NORMALIZE), IMAGE, 1.0, is_fixed=True)),
    **_rows("ToFloat FromFloat ToRGB", Transform(_does(Does.FORMAT), IMAGE, 1.0, is_fixed=True)),
    **_rows("ToTensor ToTensorV2 ToTensor3D", Transform(_does(Does.FORMAT), MASK, 1.0, is_fixed=True)),
    **_rows("NoOp", Transform(_does(Does.OTHER), ALL, is_fixed=True)),
    **_rows("UniformTemporalSubsample", Transform(_does(Does.DROP_FRAMES), ALL, 1.0, is_fixed=True)),
    **_rows(_DROPS, Transform(_does(Does.DROP), ALL)),
    **_rows("CoarseDropout3D", Transform(_does(Does.DROP), VOLUME)),
    **_rows("Mosaic MixUp CopyAndPaste", Transform(_does(Does.MOSAIC), ALL)),
    **_rows("OverlayElements", Transform(_does(Does.MOSAIC), MASK)),
    **_rows(_WARPS, Transform(_does(Does.WARP), ALL)),
    **_rows("GridElasticDeform", Transform(_does(Does.WARP), ALL, 1.0)),
    **_rows("ElasticTransform3D GridShuffle3D", Transform(_does(Does.WARP), VOLUME)),
    # Crops, sizes and borders
    **_rows(_CROPS, Transform(_does(Does.CROP), ALL, 1.0)),
    **_rows(_RESIZED_CROPS, Transform(_does(Does.CROP, Does.RESIZE), ALL, 1.0)),
    **_rows("CropAndPad IAACropAndPad", Transform(_does(Does.CROP, Does.PAD, Does.RESIZE), ALL, 1.0)),
    **_rows("Crop CenterCrop", Transform(_does(Does.CROP), ALL, 1.0, is_fixed=True)),
    **_rows("RandomCrop3D", Transform(_does(Does.CROP), VOLUME, 1.0)),
    **_rows("RandomResizedCrop3D", Transform(_does(Does.CROP, Does.RESIZE), VOLUME, 1.0)),
    **_rows("CenterCrop3D", Transform(_does(Does.CROP), VOLUME, 1.0, is_fixed=True)),
    **_rows("Pad PadIfNeeded", Transform(_does(Does.PAD), ALL, 1.0, is_fixed=True)),
    **_rows("Pad3D PadIfNeeded3D", Transform(_does(Does.PAD), VOLUME, 1.0, is_fixed=True)),
    **_rows("Resize LongestMaxSize SmallestMaxSize", Transform(_does(Does.RESIZE), ALL, 1.0, is_fixed=True)),
    **_rows("LetterBox", Transform(_does(Does.RESIZE, Does.PAD), ALL, 1.0, is_fixed=True)),
    **_rows("Resize3D", Transform(_does(Does.RESIZE), VOLUME, 1.0, is_fixed=True)),
    # Mirrors and turns. A transposition is a mirror left to right, and a quarter turn
    **_rows("HorizontalFlip IAAFliplr", Transform(_does(Does.FLIP), ALL, is_fixed=True, mirrors=(1, 0))),
    **_rows("TimeReverse", Transform(_does(Does.FLIP), ALL, is_fixed=True, mirrors=(1, 0))),
    **_rows("VerticalFlip IAAFlipud", Transform(_does(Does.FLIP), ALL, is_fixed=True, mirrors=(0, 1))),
    **_rows("Flip", Transform(_does(Does.FLIP), ALL, mirrors=(2 / 3, 2 / 3))),
    **_rows("Transpose", Transform(_does(Does.FLIP, Does.ROTATE), ALL, is_fixed=True, mirrors=(1, 0))),
    **_rows("D4 SquareSymmetry", Transform(_does(Does.FLIP, Does.ROTATE), ALL, 1.0, mirrors=(3 / 8, 1 / 8))),
    **_rows("RandomRotate90", Transform(_does(Does.ROTATE), ALL, 1.0)),
    **_rows("RandomRotate90_3D", Transform(_does(Does.ROTATE), VOLUME, 1.0)),
    **_rows("CubicSymmetry", Transform(_does(Does.FLIP, Does.ROTATE), VOLUME, 1.0)),
    **_rows("Flip3D", Transform(_does(Does.FLIP), VOLUME, 1.0)),
    **_rows("Rotate", Transform(_does(Does.ROTATE), ALL, ranges=(_ROTATION,))),
    **_rows("SafeRotate", Transform(_does(Does.ROTATE, Does.SCALE), ALL, ranges=(_ROTATION,))),
    **_rows(
        "RandomScale",
        Transform(_does(Does.SCALE), ALL, ranges=(Range("scale", ("scale_limit", "scale_range"), "ratio", "offset"),)),
    ),
    **_rows(
        "ShiftScaleRotate",
        Transform(
            _does(Does.ROTATE, Does.SCALE, Does.TRANSLATE),
            ALL,
            ranges=(
                Range("rotation", ("rotate_limit", "rotate_range"), "degree"),
                Range("scale", ("scale_limit", "scale_range"), "ratio", "offset"),
                Range("translation", _SHIFTS, "share"),
            ),
        ),
    ),
    **_rows(
        "Affine IAAAffine",
        Transform(
            _does(Does.ROTATE, Does.SCALE, Does.TRANSLATE, Does.SHEAR),
            ALL,
            ranges=(
                Range("rotation", ("rotate",), "degree", "fixed"),
                Range("scale", ("scale",), "ratio", "fixed"),
                Range("translation", ("translate_percent",), "share", "fixed"),
                Range("translation", ("translate_px",), "px", "fixed"),
                Range("shear", ("shear",), "degree", "fixed"),
            ),
        ),
    ),
    **_rows(
        "Affine3D",
        Transform(
            _does(Does.ROTATE, Does.SCALE, Does.TRANSLATE),
            VOLUME,
            ranges=(
                Range("rotation", ("rotate_range",), "degree", "fixed"),
                Range("scale", ("scale_range",), "ratio", "fixed"),
                Range("translation", ("translate_percent_range",), "share", "fixed"),
            ),
        ),
    ),
}
_ALL = Composition()
COMPOSITIONS: Mapping[str, Composition] = {
    "Compose": _ALL,
    "ReplayCompose": _ALL,
    "Sequential": Composition("all", 0.5),
    "SelectiveChannelTransform": _ALL,
    "PerChannel": Composition("all", 0.5),
    "OneOf": Composition("one", 0.5),
    "OneOrOther": Composition("either", 0.5),
    "SomeOf": Composition("some", 1.0),
    "RandomOrder": Composition("some", 1.0),
}
POSITIONS: Mapping[str, tuple[str, ...]] = {  # of calls in Python; what stands further back differs between versions
    "Resize": ("height", "width"),
    "RandomCrop": ("height", "width"),
    "CenterCrop": ("height", "width"),
    "Normalize": ("mean", "std", "max_pixel_value"),
    "Rotate": ("limit",),
    "SafeRotate": ("limit",),
    "RandomScale": ("scale_limit",),
    "ShiftScaleRotate": ("shift_limit", "scale_limit", "rotate_limit"),
    "LongestMaxSize": ("max_size",),
    "SmallestMaxSize": ("max_size",),
    "PadIfNeeded": ("min_height", "min_width"),
    "SomeOf": ("transforms", "n"),
    "OneOf": ("transforms", "p"),
    "Sequential": ("transforms", "p"),
}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {  # the same in every version
    "Normalize": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "max_pixel_value": 255.0},
}
LIBRARY = Library(TRANSFORMS, COMPOSITIONS, frozenset(("Compose", "ReplayCompose")))
