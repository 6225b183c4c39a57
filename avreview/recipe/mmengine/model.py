"""What a configuration says of its network: inputs, norms, dropout, frozen parts, velocity, pretrained weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from avreview.recipe.mmengine.amounts import number
from avreview.recipe.model import NormSetting, Place, RecipeDropout, Setting
from avreview.recipe.python.values import Table, scope_free, tables

# Parts of a network, by their key in `model`, that encode one sensor.
_ENCODERS = {
    "camera": ("img_backbone",),
    "lidar": ("pts_voxel_encoder", "pts_middle_encoder", "pts_backbone", "voxel_encoder", "middle_encoder", "reader"),
    "radar": ("radar_voxel_encoder", "radar_encoder", "radar_backbone", "pts_radar_encoder"),
}
_IMAGE_BACKBONES = frozenset(
    (
        "CSPDarknet", "CSPNeXt", "ConvNeXt", "CustomSwinTransformer", "DLANet", "Darknet", "DetectoRS_ResNet", "EVA",
        "EVAViT", "EfficientNet", "HRNet", "MobileNetV2", "PyramidVisionTransformer", "PyramidVisionTransformerV2",
        "RegNet", "Res2Net", "ResNeSt", "ResNeXt", "ResNet", "ResNetV1d", "SSDVGG", "SwinTransformer", "ViT", "VoVNet",
        "VoVNetCP",
    )
)  # fmt: skip
_RESNETS = frozenset({"DetectoRS_ResNet", "Res2Net", "ResNeSt", "ResNeXt", "ResNet", "ResNetV1d"})
# Networks and scopes whose ResNets are other classes than mmdetection's.
_OTHER_NETWORKS = frozenset({"EncoderDecoder", "CascadeEncoderDecoder", "ImageClassifier"})
_OTHER_SCOPES = frozenset({"mmseg", "mmpretrain", "mmcls", "mmpose", "mmaction"})
_DROPOUTS = frozenset(
    {"dropout", "drop_rate", "attn_drop", "attn_drop_rate", "drop_path_rate", "drop_path", "proj_drop", "ffn_drop",
     "dropout_ratio", "drop_prob", "dropout_rate", "dp_rate", "ffn_dropout", "attn_dropout", "proj_drop_rate"}
)  # fmt: skip
# Heads that predict velocity unless `code_size` says otherwise.
_NINE_NUMBERS = frozenset(
    (
        "BEVFormerHead", "BEVFormerHead_GroupDETR", "BEVFormerTrackHead", "DETR3DHead", "DGCNN3DHead", "Detr3DHead",
        "PETRHead", "PETRHeadseg", "PETRv2DNHead", "PETRv2Head", "Sparse4DHead", "StreamPETRHead",
    )
)  # fmt: skip
_NORMS = frozenset({"norm_cfg", "norm", "norm_layer", "normalize", "pre_norm", "bn_cfg"})


def model_of(config: Table) -> Table | None:
    model = config.get("model")
    return model if isinstance(model, Table) else None


def sensors(config: Table) -> Mapping[str, Setting]:
    """The sensors that the network encodes, by its parts; where these do not tell, by `input_modality`."""
    model, found = model_of(config), dict[str, Setting]()
    for name, keys in _ENCODERS.items():
        key = next((key for key in keys if model is not None and isinstance(model.get(key), Table)), None)
        if model is not None and key is not None:
            found[name] = Setting(True, model.place(key))
    backbone = model.get("backbone") if model is not None and not found else None
    if isinstance(backbone, Table) and model is not None and scope_free(backbone.get("type")) in _IMAGE_BACKBONES:
        found["camera"] = Setting(True, model.place("backbone"))
    by_parts = bool(found)
    modality = config.get("input_modality")
    if isinstance(modality, Table):
        for name in ("camera", "lidar", "radar"):
            stated = modality.get(f"use_{name}")
            if isinstance(stated, bool) and ((name == "radar" and stated) or not by_parts):
                found.setdefault(name, Setting(stated, modality.place(f"use_{name}")))
    return found


def velocity(config: Table) -> Setting | None:
    """Whether the network predicts velocity: a head for it, `pred_velo`, or boxes of nine and ten numbers."""
    model = model_of(config)
    for path, table in tables(model if model is not None else Table(Place(""))):
        if any(part in ("train_cfg", "test_cfg") for part in path.split(".")):
            continue
        if scope_free(table.get("type")) in _NINE_NUMBERS and "code_size" not in table:
            return Setting(True, table.place("type"))
        heads = table.get("common_heads")
        if isinstance(heads, Table):
            if "vel" in heads:
                return Setting(True, heads.place("vel"))
            return Setting(False, table.place("common_heads")) if heads.rest is None else None
        if isinstance(table.get("pred_velo"), bool):
            return Setting(table["pred_velo"], table.place("pred_velo"))
        for key in ("code_size", "bbox_code_size", "box_code_size"):
            size = number(table.get(key))
            if size is not None and ("coder" in path or "head" in path):
                return Setting(size >= 9, table.place(key))
        weights = table.get("code_weights", table.get("code_weight"))
        if isinstance(weights, list | tuple) and weights and "head" in path:
            key = "code_weights" if "code_weights" in table else "code_weight"
            return Setting(len(weights) >= 9, table.place(key))
    return None


def norms(config: Table) -> list[NormSetting]:
    """Every norm that is configured, by the dotted way to the part that it is in."""
    found = []
    for path, table in tables(model_of(config)):
        frozen = table.get("norm_eval", _frozen_by_default(table, config))
        for key in sorted(_NORMS & table.keys()):
            kind = table[key]
            name = scope_free(kind.get("type")) if isinstance(kind, Table) else None
            if not isinstance(kind, Table) or name is None:
                continue
            stated = kind.get("requires_grad")
            found.append(
                NormSetting(
                    name, path, table.place(key),
                    frozen if isinstance(frozen, bool) else None,
                    not stated if isinstance(stated, bool) else None,
                )
            )  # fmt: skip
    return found


def _frozen_by_default(table: Table, config: Table) -> bool | None:
    """True for mmdetection's ResNets, whose `norm_eval` is True where nothing is said; mmseg's is False."""
    kind, model = table.get("type"), model_of(config)
    if scope_free(kind) not in _RESNETS:
        return None
    if isinstance(kind, str) and kind.startswith("mmdet."):
        return True
    whole = scope_free(model.get("type")) if model is not None else None
    other = whole in _OTHER_NETWORKS or config.get("default_scope") in _OTHER_SCOPES
    return None if other or (isinstance(kind, str) and "." in kind) else True


def dropouts(config: Table) -> list[RecipeDropout]:
    """Every rate above 0 that is stated for dropout, with the dotted way to the part that it is in."""
    found = []
    for path, table in tables(model_of(config)):
        for key in table:
            rate = number(table[key]) if isinstance(key, str) and key in _DROPOUTS else None
            if rate is not None and 0 < rate <= 1:
                found.append(RecipeDropout(rate, path, table.place(key), key))
    return found


def frozen(config: Table) -> list[Setting]:
    """Parts that do not learn: the first stages of a backbone, and whole parts that are frozen by a switch."""
    return [setting for path, table in tables(model_of(config)) for setting in _frozen_in(path, table)]


def _frozen_in(path: str, table: Table) -> Iterator[Setting]:
    stages = number(table.get("frozen_stages"))
    if stages is not None and stages >= 0 and path:
        at = table.place("frozen_stages")
        if scope_free(table.get("type")) in _RESNETS:
            deep = table.get("deep_stem") is True or scope_free(table.get("type")) in ("ResNetV1d", "ResNeSt")
            for part in ("stem",) if deep else ("conv1", "bn1"):
                yield Setting(f"{path}.{part}", at)
            for stage in range(1, min(int(stages), 4) + 1):
                yield Setting(f"{path}.layer{stage}", at)
        else:  # which modules these are, only its code tells
            yield Setting(f"{path}.frozen_stages={int(stages)}", at)
    for key in ("freeze", "frozen"):
        if table.get(key) is True and path:
            yield Setting(path, table.place(key))
    if not path:
        for key in table:
            name = key.removeprefix("freeze_") if isinstance(key, str) and key.startswith("freeze_") else ""
            if name in table and table[key] is True:
                yield Setting(name, table.place(key))


def pretrained(config: Table) -> Setting | None:
    """The weights that training starts from: `load_from`, or those of the whole network or a backbone."""
    if isinstance(config.get("load_from"), str):
        return Setting(config["load_from"], config.place("load_from"))
    for _, table in tables(model_of(config)):
        if isinstance(table.get("pretrained"), str):
            return Setting(table["pretrained"], table.place("pretrained"))
        for init in _inits(table.get("init_cfg")):
            if scope_free(init.get("type")) == "Pretrained" and isinstance(init.get("checkpoint"), str):
                return Setting(init["checkpoint"], init.place("checkpoint"))
    return None


def _inits(value: Any) -> Iterator[Table]:
    for entry in value if isinstance(value, list | tuple) else (value,):
        if isinstance(entry, Table):
            yield entry
