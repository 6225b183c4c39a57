"""What stands in pipelines beside augmentations, by class name: loading, formatting, collecting; and wrappers."""

from __future__ import annotations

from collections.abc import Mapping

from avreview.recipe.mmengine.known import Known, known

_IMAGES, _POINTS = known("load", "image"), known("load", "points")
_LABELS_3D, _LABELS_2D, _MAPS = known("load", "boxes-3d velocities"), known("load", "boxes-2d"), known("load", "maps")
_FORMAT = known("format")
_COLLECT = known("collect")
_PACK = known("format collect")

OTHER_TRANSFORMS: Mapping[str, Known] = {
    **dict.fromkeys(
        (
            "LoadImageFromFile", "LoadImageFromFileMono3D", "LoadMultiViewImageFromFiles", "LoadImageFromNDArray",
            "LoadMultiViewImageFromFilesInCeph", "CustomLoadMultiViewImageFromFiles", "LoadImageFromWebcam",
            "BEVLoadMultiViewImageFromFiles", "LoadMultiChannelImageFromFiles", "InferencerLoader",
            "MonoDet3DInferencerLoader", "MultiModalityDet3DInferencerLoader",
        ),
        _IMAGES,
    ),
    **dict.fromkeys(
        (
            "LoadPointsFromFile", "CustomLoadPointsFromFile", "LoadPointsFromDict", "LoadPointCloudFromFile",
            "LidarDet3DInferencerLoader",
        ),
        _POINTS,
    ),
    **dict.fromkeys(("LoadPointsFromMultiSweeps", "CustomLoadPointsFromMultiSweeps"), known("sweeps", "points times")),
    "LoadRadarPointsMultiSweeps": known("load sweeps", "points times"),
    "LoadMultiViewImageFromMultiSweepsFiles": known("load sweeps", "image times", random=None),
    **dict.fromkeys(("LoadAnnotations3D", "LoadAnnotations3D_E2E", "LoadPointCloudAnnotations"), _LABELS_3D),
    **dict.fromkeys(
        (
            "LoadAnnotations", "LoadPanopticAnnotations", "LoadProposals", "LoadEmptyAnnotations",
            "LoadTrackAnnotations",
        ),
        _LABELS_2D,
    ),
    **dict.fromkeys(
        (
            "LoadOccGTFromFile", "LoadOccupancy", "LoadMapsFromFiles_flattenf200f3", "LoadBEVSegmentation",
            "VectorizeMap", "LoadBEVMask",
        ),
        _MAPS,
    ),
    **dict.fromkeys(
        (
            "DefaultFormatBundle", "DefaultFormatBundle3D", "CustomDefaultFormatBundle3D", "PETRFormatBundle3D",
            "ImageToTensor", "ToTensor", "Transpose", "ToDataContainer", "Voxelization", "AssignLabel", "Reformat",
            "Empty", "NuScenesSparse4DAdaptor", "DD3DMapper", "WrapFieldsToLists", "SeqDefaultFormatBundle",
            "FormatBundle3DTrack", "VADFormatBundle3D",
        ),
        _FORMAT,
    ),
    **dict.fromkeys(("Collect", "Collect3D", "CustomCollect3D", "VideoCollect"), _COLLECT),
    **dict.fromkeys(
        ("Pack3DDetInputs", "PackDetInputs", "PackNeRFDetInputs", "PackTrackInputs", "PackReIDInputs"), _PACK
    ),
    "DoubleFlip": known("test-time"),
}  # fmt: skip

# Wrappers: the option that holds what they wrap.
WRAPPERS: Mapping[str, str] = {
    "MultiScaleFlipAug3D": "transforms",
    "MultiScaleFlipAug": "transforms",
    "CustomDistMultiScaleFlipAug3D": "transforms",
    "TestTimeAug": "transforms",
    "RandomChoice": "transforms",
    "RandomApply": "transforms",
    "RandomOrder": "transforms",
    "OneOf": "transforms",
    "AutoAugment": "policies",
    "RandAugment": "aug_space",
    "MultiViewWrapper": "transforms",
    "MultiViewPipeline": "transforms",
    "TransformBroadcaster": "transforms",
    "KeyMapper": "transforms",
    "ProposalBroadcaster": "transforms",
    "Compose": "transforms",
    "SeqCompose": "transforms",
}
TEST_TIME = frozenset(  # each variant in turn
    {"MultiScaleFlipAug3D", "CustomDistMultiScaleFlipAug3D", "MultiScaleFlipAug", "TestTimeAug"}
)
FIXED_INSIDE = TEST_TIME - {"TestTimeAug"}  # these set what is drawn elsewhere
CHOICES = frozenset({"RandomChoice", "OneOf", "AutoAugment", "RandAugment"})  # one of several, at random

_META = frozenset(
    (
        "filename", "ori_shape", "img_shape", "lidar2img", "depth2img", "cam2img", "pad_shape", "scale_factor", "flip",
        "pcd_horizontal_flip", "pcd_vertical_flip", "box_mode_3d", "box_type_3d", "img_norm_cfg", "pcd_trans",
        "sample_idx", "pcd_scale_factor", "pcd_rotation", "pts_filename", "transformation_3d_flow",
    )
)  # fmt: skip
# What goes along unless `meta_keys` says otherwise.
META_KEYS: Mapping[str, frozenset[str]] = {
    "Collect3D": _META,
    "CustomCollect3D": _META | {"prev_idx", "next_idx", "scene_token", "can_bus"},
    "Pack3DDetInputs": (_META - {"filename", "pts_filename"})
    | {"img_path", "lidar_path", "num_pts_feats", "lidar2cam", "ori_lidar2img", "cam2global", "ego2global",
       "axis_align_matrix", "pcd_rotation_angle"},
    "Collect": frozenset(
        {"filename", "ori_filename", "ori_shape", "img_shape", "pad_shape", "scale_factor", "flip", "flip_direction",
         "img_norm_cfg"}
    ),
    "PackDetInputs": frozenset({"img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "flip",
                                "flip_direction"}),
}  # fmt: skip
