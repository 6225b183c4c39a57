"""Networks of the usual shapes, and the usual ways to put their parameters into groups: for the optimizer mapping.

A grouping gets a network and returns `param_groups`; the truth is read from the optimizer that torch builds of them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from avreview.artifact import Artifact, Provenance, Tensor
from avreview.checkpoint import Checkpoint, Optimizer, ParamGroup, WeightSet

Groups = list[dict[str, Any]]
Parameters = Iterable[nn.Parameter]
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
RATE, DECAY = 1e-3, 0.05


class Shape:
    """Storage without elements: the mapping reads shapes alone."""


def _tensor(name: str, value: torch.Tensor, storages: dict[int, Any]) -> Tensor:
    storage = storages.setdefault(value.data_ptr() or id(value), Shape())
    return Tensor(name, tuple(value.shape), str(value.dtype).removeprefix("torch."), storage)


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """The state dict; tied tensors share their storage."""
    storages: dict[int, Any] = {}
    return {name: _tensor(name, value, storages) for name, value in network.state_dict().items()}


def optimizer_of(optimizer: torch.optim.Optimizer) -> Optimizer:
    """The optimizer as a loader reads it from a file."""
    saved = optimizer.state_dict()
    groups = tuple(
        ParamGroup(
            {key: value for key, value in group.items() if key not in ("params", "param_names")},
            tuple(group["params"]),
            tuple(group.get("param_names", ())),
        )
        for group in saved["param_groups"]
    )
    state = {
        slot: {
            key: _tensor(f"optimizer.state.{slot}.{key}", value, {}) if key != "step" else float(value)
            for key, value in held.items()
            if isinstance(value, torch.Tensor) or key == "step"
        }
        for slot, held in saved["state"].items()
    }
    return Optimizer("optimizer", groups, state)


def artifact_of(network: nn.Module, optimizer: torch.optim.Optimizer) -> Artifact:
    """A training checkpoint of the two."""
    weights = weights_of(network)
    sets = {"model": WeightSet("model", "state_dict", weights)}
    held = Checkpoint(sets, "model", "state_dict", None, (optimizer_of(optimizer),))
    return Artifact(Provenance("epoch_24.pth", "pytorch-zip", 0), weights, checkpoint=held)


def stepped(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """After one step, so that there is state."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.requires_grad:
                parameter.grad = torch.full_like(parameter, 1e-3)
    optimizer.step()
    return optimizer


class Truth(NamedTuple):
    """What an optimizer really does to each parameter, by the first of its names."""

    decay: Mapping[str, float | None]
    rate: Mapping[str, float | None]


def truth_of(network: nn.Module, optimizer: torch.optim.Optimizer) -> Truth:
    held = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    settings = {name: held.get(id(p), (None, None)) for name, p in network.named_parameters()}
    return Truth(
        {name: decay for name, (_, decay) in settings.items()}, {name: rate for name, (rate, _) in settings.items()}
    )


# Networks


def conv_bn(into: int, out: int, size: int = 3, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(into, out, size, padding=size // 2, groups=groups, bias=False), nn.BatchNorm2d(out), nn.ReLU()
    )


class BasicBlock(nn.Module):  # type: ignore[misc]  # torch is untyped here
    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(into, out, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        if into != out:
            self.downsample = nn.Sequential(nn.Conv2d(into, out, 1, bias=False), nn.BatchNorm2d(out))


class ResNet(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """ResNet-18's (or, with other numbers of blocks, -34's) names and proportions."""

    def __init__(self, blocks: Iterable[int] = (2, 2, 2, 2), width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        into = width
        for stage, number in enumerate(blocks):
            out = width << stage
            rest = (BasicBlock(out, out) for _ in range(number - 1))
            setattr(self, f"layer{stage + 1}", nn.Sequential(BasicBlock(into, out), *rest))
            into = out
        self.fc = nn.Linear(into, 10)


class MobileNet(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Inverted residuals, as in MobileNetV2."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_bn(3, 8)]
        into = 8
        for expand, out, number in ((1, 4, 1), (6, 6, 2), (6, 8, 3), (6, 16, 4), (6, 24, 3), (6, 40, 3)):
            for _ in range(number):
                hidden = into * expand
                body: list[nn.Module] = [conv_bn(into, hidden, 1)] if expand > 1 else []
                body += [conv_bn(hidden, hidden, 3, hidden), nn.Conv2d(hidden, out, 1, bias=False), nn.BatchNorm2d(out)]
                layers.append(nn.ModuleDict({"conv": nn.Sequential(*body)}))
                into = out
        self.features = nn.Sequential(*layers, conv_bn(into, 64, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(64, 10))


class Attention(nn.Module):  # type: ignore[misc]  # torch is untyped here
    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)


class VitBlock(nn.Module):  # type: ignore[misc]  # torch is untyped here
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})


class Vit(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A vision transformer with timm's names."""

    def __init__(self, depth: int = 12, width: int = 16) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 17, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, 4)})
        self.blocks = nn.ModuleList(VitBlock(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)


class ConvNorm(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """ultralytics' Conv."""

    def __init__(self, into: int, out: int, size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, size, bias=False)
        self.bn = nn.BatchNorm2d(out)


class C2f(nn.Module):  # type: ignore[misc]  # torch is untyped here
    def __init__(self, into: int, out: int, number: int) -> None:
        super().__init__()
        half = out // 2
        self.cv1 = ConvNorm(into, out, 1)
        self.cv2 = ConvNorm((2 + number) * half, out, 1)
        self.m = nn.ModuleList(
            nn.ModuleDict({"cv1": ConvNorm(half, half), "cv2": ConvNorm(half, half)}) for _ in range(number)
        )


class Detect(nn.Module):  # type: ignore[misc]  # torch is untyped here
    def __init__(self, widths: Iterable[int]) -> None:
        super().__init__()
        widths = list(widths)
        self.cv2 = nn.ModuleList(nn.Sequential(ConvNorm(w, 16), ConvNorm(16, 16), nn.Conv2d(16, 64, 1)) for w in widths)
        self.cv3 = nn.ModuleList(nn.Sequential(ConvNorm(w, 16), ConvNorm(16, 16), nn.Conv2d(16, 20, 1)) for w in widths)
        self.dfl = nn.ModuleDict({"conv": nn.Conv2d(16, 1, 1, bias=False).requires_grad_(False)})


class Yolo(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A detector with YOLOv8's names and proportions."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(
            ConvNorm(3, 8), ConvNorm(8, 16), C2f(16, 16, 1), ConvNorm(16, 32), C2f(32, 32, 2), ConvNorm(32, 64),
            C2f(64, 64, 2), ConvNorm(64, 128), C2f(128, 128, 1), C2f(192, 64, 1), C2f(96, 32, 1), ConvNorm(32, 32),
            C2f(96, 64, 1), Detect((32, 64, 128)),
        )  # fmt: skip


class UNet(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Convolutions with biases in front of batch norms: three vectors of one shape after each weight."""

    def __init__(self) -> None:
        super().__init__()

        def double(into: int, out: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(into, out, 3), nn.BatchNorm2d(out), nn.ReLU(),
                nn.Conv2d(out, out, 3), nn.BatchNorm2d(out), nn.ReLU(),
            )  # fmt: skip

        self.inc = double(3, 8)
        self.down = nn.ModuleList(double(8 << n, 16 << n) for n in range(3))
        self.up = nn.ModuleList(nn.ConvTranspose2d(64 >> n, 32 >> n, 2) for n in range(3))
        self.after = nn.ModuleList(double(64 >> n, 32 >> n) for n in range(3))
        self.outc = nn.Conv2d(8, 5, 1)


class Recurrent(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Convolutions, a bidirectional LSTM of two layers, and a head: tracking over frames."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(conv_bn(3, 16), conv_bn(16, 32), conv_bn(32, 32))
        self.lstm = nn.LSTM(32, 16, num_layers=2, bidirectional=True)
        self.norm = nn.LayerNorm(32)
        self.head = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 7))


class BertLayer(nn.Module):  # type: ignore[misc]  # torch is untyped here
    def __init__(self, width: int) -> None:
        super().__init__()
        linears = {name: nn.Linear(width, width) for name in ("query", "key", "value")}
        self.attention = nn.ModuleDict(
            {
                "self": nn.ModuleDict(linears),
                "output": nn.ModuleDict({"dense": nn.Linear(width, width), "LayerNorm": nn.LayerNorm(width)}),
            }
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, 4 * width)})
        self.output = nn.ModuleDict({"dense": nn.Linear(4 * width, width), "LayerNorm": nn.LayerNorm(width)})


class Bert(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """An encoder whose output weights are its word embeddings."""

    def __init__(self, depth: int = 6, width: int = 16) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(100, width),
                "position_embeddings": nn.Embedding(32, width),
                "token_type_embeddings": nn.Embedding(2, width),
                "LayerNorm": nn.LayerNorm(width),
            }
        )
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(BertLayer(width) for _ in range(depth))})
        self.decoder = nn.Linear(width, 100)
        self.decoder.weight = self.embeddings["word_embeddings"].weight


class Detr(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A convolutional backbone, transformer layers with fused projections, and queries."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.backbone = ResNet((1, 1, 1, 1), 4)
        self.input_proj = nn.Conv2d(32, width, 1)
        self.query_embed = nn.Embedding(20, width)
        self.transformer = nn.Transformer(width, 2, 3, 3, 4 * width, batch_first=True)
        self.class_embed = nn.Linear(width, 11)
        self.bbox_embed = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))


class ConvNext(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Depthwise convolutions with biases, layer norms and layer scales."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4), nn.LayerNorm(8))
        self.stages = nn.ModuleList()
        for width in (8, 16, 32):
            self.stages.append(nn.Sequential(*(self._block(width) for _ in range(3))))
            self.stages.append(nn.Sequential(nn.LayerNorm(width), nn.Conv2d(width, 2 * width, 2)))
        self.head = nn.Linear(64, 10)

    @staticmethod
    def _block(width: int) -> nn.Module:
        parts: dict[str, nn.Module] = {
            "dwconv": nn.Conv2d(width, width, 7, groups=width),
            "norm": nn.LayerNorm(width),
            "pwconv1": nn.Linear(width, 4 * width),
            "pwconv2": nn.Linear(4 * width, width),
        }
        block = nn.ModuleDict(parts)
        block.register_parameter("gamma", nn.Parameter(torch.full((width,), 1e-6)))
        return block


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": ResNet,
    "resnet34": lambda: ResNet((3, 4, 6, 3)),
    "mobilenet": MobileNet,
    "vit": Vit,
    "yolo": Yolo,
    "unet": UNet,
    "recurrent": Recurrent,
    "bert": Bert,
    "detr": Detr,
    "convnext": ConvNext,
}


# Groupings


def _direct(network: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    """Every trainable parameter once, with the module that holds it."""
    seen: set[int] = set()
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                yield module, name, parameter


def _named(network: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in network.named_parameters() if p.requires_grad]


def one_group(network: nn.Module) -> Groups:
    return [{"params": [p for _, p in _named(network)], "weight_decay": DECAY}]


def frozen_included(network: nn.Module) -> Groups:
    """Everything, also what has no gradient and therefore no state."""
    return [{"params": list(network.parameters()), "weight_decay": DECAY}]


def hugging_face(network: nn.Module) -> Groups:
    """Trainer: no decay for biases and for layer norms, so batch norms' scales decay."""
    spared = {f"{name}.weight" for name, m in network.named_modules() if isinstance(m, nn.LayerNorm)}
    keep = [p for name, p in _named(network) if name not in spared and "bias" not in name]
    rest = [p for name, p in _named(network) if name in spared or "bias" in name]
    return [{"params": keep, "weight_decay": DECAY}, {"params": rest, "weight_decay": 0.0}]


def timm(network: nn.Module) -> Groups:
    """No decay for vectors and biases; that group first."""
    spared = [p for name, p in _named(network) if p.ndim <= 1 or name.endswith(".bias")]
    rest = [p for name, p in _named(network) if not (p.ndim <= 1 or name.endswith(".bias"))]
    return [{"params": spared, "weight_decay": 0.0}, {"params": rest, "weight_decay": DECAY}]


def timm_no_embeddings(network: nn.Module) -> Groups:
    """As timm, with embeddings, tokens and queries spared as well."""
    listed = re.compile("pos_embed|cls_token|embeddings|query_embed")
    spared = [p for name, p in _named(network) if p.ndim <= 1 or listed.search(name)]
    rest = [p for name, p in _named(network) if not (p.ndim <= 1 or listed.search(name))]
    return [{"params": spared, "weight_decay": 0.0}, {"params": rest, "weight_decay": DECAY}]


def yolo_v5(network: nn.Module) -> Groups:
    """Norm scales, weights, biases."""
    sets: list[list[nn.Parameter]] = [[], [], []]
    for module, name, parameter in _direct(network):
        sets[2 if name.startswith("bias") else 0 if isinstance(module, NORMS) else 1].append(parameter)
    return [{"params": part, "weight_decay": DECAY if place == 1 else 0.0} for place, part in enumerate(sets) if part]


def yolo_v8(network: nn.Module) -> Groups:
    """Biases, weights, norm scales, with ultralytics' labels."""
    scales, weights, biases = yolo_v5(network)
    return [{**biases, "param_group": "bias"}, {**weights, "param_group": "weight"}, {**scales, "param_group": "bn"}]


def bias_rate(network: nn.Module) -> Groups:
    """Caffe's: biases at twice the rate and without decay."""
    weights = [p for name, p in _named(network) if "bias" not in name]
    biases = [p for name, p in _named(network) if "bias" in name]
    return [
        {"params": weights, "weight_decay": DECAY},
        {"params": biases, "weight_decay": 0.0, "lr": 2 * RATE},
    ]


def detectron2(network: nn.Module) -> Groups:
    """One group a parameter, merged by settings: norms without decay."""
    spared = [p for module, _, p in _direct(network) if isinstance(module, NORMS)]
    rest = [p for module, _, p in _direct(network) if not isinstance(module, NORMS)]
    return [{"params": rest, "weight_decay": DECAY}, {"params": spared, "weight_decay": 0.0}]


def per_parameter(network: nn.Module) -> Groups:
    """detectron2 before it merged, mmengine's paramwise_cfg: one group a parameter."""
    return [
        {"params": [p], "weight_decay": 0.0 if isinstance(module, NORMS) else DECAY}
        for module, _, p in _direct(network)
    ]


def backbone_slower(network: nn.Module) -> Groups:
    """mmengine's custom_keys: the first half of the modules at a tenth of the rate, one group a parameter."""
    names = [name for name, _ in _named(network)]
    first = set(names[: len(names) // 2])
    return [
        {"params": [p], "weight_decay": 0.0 if p.ndim <= 1 else DECAY, "lr": RATE / 10 if name in first else RATE}
        for name, p in _named(network)
    ]


def min_gpt(network: nn.Module) -> Groups:
    """Two sets of names, each sorted."""
    held = dict(_named(network))
    decayed = {name for name, p in held.items() if p.ndim > 1}
    return [
        {"params": [held[name] for name in sorted(decayed)], "weight_decay": DECAY},
        {"params": [held[name] for name in sorted(held.keys() - decayed)], "weight_decay": 0.0},
    ]


def norms_apart(network: nn.Module) -> Groups:
    """Norms in a group of their own, decayed less: fastai's split."""
    norms = [p for module, _, p in _direct(network) if isinstance(module, NORMS)]
    rest = [p for module, _, p in _direct(network) if not isinstance(module, NORMS)]
    return [{"params": rest, "weight_decay": DECAY}, {"params": norms, "weight_decay": DECAY / 10}]


def layer_decay(network: nn.Module) -> Groups:
    """A rate for each block and a group more for what is not decayed, in the order in which they are met."""
    groups: dict[str, dict[str, Any]] = {}
    depth = 0
    block = ""
    for name, p in _named(network):
        found = re.match(r"(.*?\d+)\.", name)
        if found and found[1] != block:
            block, depth = found[1], depth + 1
        spared = p.ndim <= 1
        key = f"{depth} {spared}"
        fresh: dict[str, Any] = {
            "params": [],
            "weight_decay": 0.0 if spared else DECAY,
            "lr": RATE * 0.9 ** (40 - depth),
        }
        groups.setdefault(key, fresh)["params"].append(p)
    return list(groups.values())


def _halves(network: nn.Module) -> tuple[list[str], list[str]]:
    """Parameter names in front of the last children, and of these: a backbone and a head."""
    children = [name for name, child in network.named_children() if any(True for _ in child.parameters())]
    tail = tuple(f"{name}." for name in children[-max(1, len(children) // 3) :])
    names = [name for name, _ in _named(network)]
    return [name for name in names if not name.startswith(tail)], [name for name in names if name.startswith(tail)]


def backbone_and_head(network: nn.Module) -> Groups:
    held = dict(_named(network))
    backbone, head = _halves(network)
    return [
        {"params": [held[name] for name in backbone], "lr": RATE / 10, "weight_decay": DECAY / 5},
        {"params": [held[name] for name in head], "weight_decay": DECAY},
    ]


def head_first(network: nn.Module) -> Groups:
    return backbone_and_head(network)[::-1]


def backbone_and_head_by_kind(network: nn.Module) -> Groups:
    """Four groups: each half with its vectors spared."""
    held = dict(_named(network))
    groups: Groups = []
    for names, rate in zip(_halves(network), (RATE / 10, RATE), strict=True):
        parts = ([n for n in names if held[n].ndim > 1], [n for n in names if held[n].ndim <= 1])
        for part, decay in zip(parts, (DECAY, 0.0), strict=True):
            groups.append({"params": [held[name] for name in part], "lr": rate, "weight_decay": decay})
    return [group for group in groups if group["params"]]


def embeddings_apart(network: nn.Module) -> Groups:
    tables = {id(m.weight) for m in network.modules() if isinstance(m, nn.Embedding)}
    first = [p for name, p in _named(network) if id(p) in tables or "pos_embed" in name or "token" in name]
    chosen = {id(p) for p in first}
    rest = [p for _, p in _named(network) if id(p) not in chosen]
    return [{"params": part, "weight_decay": d} for part, d in ((first, 0.0), (rest, DECAY)) if part]


def _frozen_backbone(network: nn.Module) -> None:
    backbone, _ = _halves(network)
    for name, p in network.named_parameters():
        if name in set(backbone):
            p.requires_grad_(False)


def frozen_backbone(network: nn.Module) -> Groups:
    _frozen_backbone(network)
    return one_group(network)


def frozen_backbone_timm(network: nn.Module) -> Groups:
    _frozen_backbone(network)
    return timm(network)


def frozen_stages(network: nn.Module) -> Groups:
    """The first third of the parameters has no gradient; mmengine leaves them out."""
    names = [name for name, _ in _named(network)]
    cut = names[len(names) // 3].rpartition(".")[0]
    for name, p in network.named_parameters():
        if name.startswith(f"{cut}."):
            break
        p.requires_grad_(False)
    return per_parameter(network)


def frozen_norms(network: nn.Module) -> Groups:
    for module in network.modules():
        if isinstance(module, NORMS):
            module.requires_grad_(False)
    return hugging_face(network)


def openpcdet(network: nn.Module) -> Groups:
    """adam_onecycle: leaves that are no batch norm, then batch norms; the decay in the file is 0."""
    leaves = [module for module in network.modules() if not list(module.children())]
    seen: set[int] = set()
    parts: list[list[nn.Parameter]] = [[], []]
    for leaf in leaves:
        for p in leaf.parameters():
            if p.requires_grad and id(p) not in seen:
                seen.add(id(p))
                parts[isinstance(leaf, (nn.BatchNorm1d, nn.BatchNorm2d))].append(p)
    return [{"params": part, "weight_decay": 0.0} for part in parts if part]


def forgotten_module(network: nn.Module) -> Groups:
    """A child in the middle is in no group."""
    children = [name for name, child in network.named_children() if any(True for _ in child.parameters())]
    lost = children[len(children) // 2]
    kept = [(name, p) for name, p in _named(network) if not name.startswith(f"{lost}.")]
    keep = [p for _, p in kept if p.ndim > 1]
    rest = [p for _, p in kept if p.ndim <= 1]
    return [{"params": keep, "weight_decay": DECAY}, {"params": rest, "weight_decay": 0.0}]


def shuffled(network: nn.Module) -> Groups:
    """From sets of tensors, whose order is the interpreter's own."""
    source = random.Random(5)
    every = [p for _, p in _named(network)]
    source.shuffle(every)
    half = len(every) // 2
    return [
        {"params": every[:half], "weight_decay": DECAY},
        {"params": every[half:], "weight_decay": 0.0},
    ]


GROUPINGS: dict[str, Callable[[nn.Module], Groups]] = {
    function.__name__: function
    for function in (
        one_group, frozen_included, hugging_face, timm, timm_no_embeddings, yolo_v5, yolo_v8, bias_rate, detectron2,
        per_parameter, backbone_slower, min_gpt, norms_apart, layer_decay, backbone_and_head, head_first,
        backbone_and_head_by_kind, embeddings_apart, frozen_backbone, frozen_backbone_timm, frozen_stages,
        frozen_norms, openpcdet, forgotten_module,
    )
}  # fmt: skip
OPTIMIZERS: dict[str, Callable[[Groups], torch.optim.Optimizer]] = {
    "AdamW": lambda groups: torch.optim.AdamW(groups, lr=RATE),
    "SGD": lambda groups: torch.optim.SGD(groups, lr=RATE, momentum=0.9),
    "RMSprop": lambda groups: torch.optim.RMSprop(groups, lr=RATE),
    "Adafactor": lambda groups: torch.optim.Adafactor(groups, lr=RATE),
}
