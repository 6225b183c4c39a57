"""Which pickles the names in them give away: every attack, and no healthy checkpoint."""

from __future__ import annotations

import argparse
import collections
import functools
import io
import itertools
import logging
import pickle
import random
import re
import sys
import types
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pickle_attacks import (
    GADGETS,
    WAYS,
    Attack,
    attacks,
    by_global,
    by_stack_global,
    call,
    data,
    glob,
    odd_attacks,
    stack_glob,
    whole,
)

from avreview.checkpoint import NamedCode
from avreview.load.pickles.builders import BUILDERS
from avreview.load.pickles.machine import PickleError, unpickle
from avreview.load.pickles.names import Unsafe, judge

torch = pytest.importorskip("torch")


def unsafe(pickled: bytes) -> list[Unsafe]:
    return judge(unpickle(pickled, builders=BUILDERS, persistent=lambda key: key).code)


def found_out(attack: Attack) -> bool:
    """Whether the attack ends in a finding or is refused."""
    try:
        return bool(unsafe(attack.pickle))
    except PickleError:
        return True


# Attacks


def test_every_attack_is_found_out() -> None:
    distinct = {attack.pickle: attack for attack in attacks()}
    assert len(GADGETS) > 300
    assert len(distinct) > 7_000
    assert [attack.name for attack in distinct.values() if not found_out(attack)] == []


@pytest.mark.parametrize("attack", list(odd_attacks()), ids=lambda attack: attack.name)
def test_an_attack_without_a_plain_call_is_found_out(attack: Attack) -> None:
    assert found_out(attack)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_the_finding_names_what_would_run(way: Callable[[str, str, tuple[Any, ...]], bytes]) -> None:
    findings = unsafe(way("os", "system", ("id",)))
    assert findings
    nested = way.__name__ in ("handed_to_loads",)
    assert nested or any("system" in finding.code.name for finding in findings)
    for finding in findings:
        assert finding.reason
        assert finding.reason.isprintable()


def test_the_offset_is_that_of_the_opcode_that_names_it() -> None:
    first, second = by_global("os", "system", ("id",)), by_stack_global("os", "system", ("id",))
    assert first[unsafe(first)[0].code.offset] == ord("c")
    assert second[unsafe(second)[0].code.offset] == 0x93


def test_reasons_tell_what_a_name_does_and_what_loading_does_with_it() -> None:
    (called,) = unsafe(whole(call(glob("os", "system"), "id")))
    assert called.reason == "runs commands; loading the file calls it"
    (named,) = unsafe(whole(glob("builtins", "eval")))
    assert named.reason == "runs Python code that it is given; the file names it without calling it"
    (own,) = unsafe(whole(call(glob("mypkg", "setup"))))
    assert own.reason == "is a function, not known to be harmless, that loading calls with arguments from the file"


def test_names_of_any_length_are_judged_or_refused_at_once() -> None:
    assert unsafe(whole(stack_glob("a" + ".a" * 1_900, "b")))
    assert unsafe(whole(call(stack_glob("x" * 3_900, "b"))))
    with pytest.raises(PickleError, match="names a function with 1,000,001 characters"):
        unsafe(whole(stack_glob("x" * 1_000_000, "b")))
    with pytest.raises(PickleError, match="names more than 20,000 functions"):
        unsafe(b"\x80\x02(" + b"".join(glob("a", f"f{n}").opcodes for n in range(30_000)) + b"t.")


# Healthy: what people keep in checkpoints


@pytest.fixture
def own_package(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A package of a user's own, with what networks, configurations and registries are made of."""
    module = types.ModuleType("mypkg.nets")
    source = """
        import enum, collections
        import torch
        class Color(enum.Enum):
            RED = 1
        class Mode(str, enum.Enum):
            TRAIN = "train"
        class Flags(enum.IntFlag):
            A = 1
            B = 2
        class Config:
            class Inner:
                def __init__(self):
                    self.depth = 3
            def __init__(self, **values):
                self.__dict__.update(values, inner=Config.Inner())
        class AttributeDict(dict):
            pass
        class Layers(list):
            pass
        class Point(collections.namedtuple("Point", "x y")):
            pass
        class Buffer:
            def __init__(self):
                self.methods = {"mean": Buffer.mean}
            def mean(self):
                return 0
            def __getstate__(self):
                return self.__dict__
            def __setstate__(self, state):
                self.__dict__.update(state)
        class Slotted:
            __slots__ = ("a",)
        def collate(items):
            return items
        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.body = torch.nn.Sequential(
                    torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Dropout(0.1))
                self.attention = torch.nn.MultiheadAttention(4, 2)
                self.rnn = torch.nn.LSTM(4, 4)
                self.scale = torch.nn.Parameter(torch.ones(3))
                self.register_buffer("grid", torch.zeros(2, 2))
                self.act = torch.nn.functional.relu
                self.gelu = torch.nn.functional.gelu
                self.mode = Color.RED
        """
    lines = source.splitlines()
    exec("\n".join(line[8:] for line in lines), module.__dict__)
    for value in list(module.__dict__.values()):
        if isinstance(value, type) or callable(value):
            monkeypatch.setattr(value, "__module__", "mypkg.nets", raising=False)
    package = types.ModuleType("mypkg")
    package.nets = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mypkg", package)
    monkeypatch.setitem(sys.modules, "mypkg.nets", module)
    return module


def healthy_values(own: Any) -> dict[str, Any]:
    slotted = own.Slotted()
    slotted.a = 1
    return {
        "enum": [own.Color.RED, own.Mode.TRAIN, own.Flags.A | own.Flags.B],
        "own objects": [own.Config(a=1), own.AttributeDict(a=1), own.Layers([1]), own.Point(1, 2), slotted],
        "methods": own.Buffer(),
        "own functions": [own.collate, functools.partial(own.collate, [1]), own.Net],
        "hyper-parameters": argparse.Namespace(lr=0.1, path=Path("a/b")),
        "partials": [functools.partial(torch.nn.functional.relu, inplace=True), functools.partial(torch.nn.ReLU, True)],
        "activations": [torch.relu, torch.nn.functional.silu, torch.sigmoid, torch.nn.GELU()],
        "torch's own": [torch.float16, torch.device("cpu"), torch.Size([1, 2]), torch.strided, torch.nn.ReLU],
        "numpy": [np.arange(3), np.float64(1), np.dtype("f4"), np.random.get_state(), np.float32, np.mean],
        "numpy's functions": np.add,
        "numpy generators": [np.random.default_rng(0), np.random.RandomState(0), np.ma.masked_array([1], [True])],
        "random states": [random.getstate(), random.Random(3)],
        "standard data": [
            collections.Counter("aab"), collections.UserDict(a=1), types.SimpleNamespace(a=1), uuid.UUID(int=3),
            re.compile("a+"), itertools.count(3), collections.ChainMap({"a": 1}), range(3), ..., NotImplemented, int,
            io.BytesIO(b"abc"), ValueError("no"), list[int], logging.getLogger("mypkg"),
        ],
        "typing": [list[int], dict[str, Any], Any, Iterator],
        "a history of losses": collections.deque([np.float64(0.3)], 10),
        "default": collections.defaultdict(list, a=[1]),
    }  # fmt: skip


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_healthy_values_are_not_flagged(own_package: Any, protocol: int) -> None:
    for name, value in healthy_values(own_package).items():
        assert unsafe(pickle.dumps(value, protocol)) == [], name


def data_pickle(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        return archive.read(name)


def test_whole_modules_are_not_flagged_and_are_known_as_modules(own_package: Any, tmp_path: Path) -> None:
    net = own_package.Net()
    optimizer = torch.optim.AdamW(net.parameters())
    path = tmp_path / "model.pt"
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    torch.save({"model": net, "optimizer": optimizer, "scheduler": scheduler}, path)
    found = unpickle(data_pickle(path), builders=BUILDERS, persistent=lambda key: key)
    assert judge(found.code) == []
    modules = {code.name for code in found.code if code.is_module}
    assert {"mypkg.nets.Net", "torch.nn.modules.conv.Conv2d", "torch.nn.modules.batchnorm.BatchNorm2d"} <= modules
    assert "torch.optim.adamw.AdamW" not in modules


TORCH_MODULES: dict[str, Callable[[], Any]] = {
    "transformer": lambda: torch.nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
    "data parallel": lambda: torch.nn.DataParallel(torch.nn.Linear(2, 2)),
    "weight norm": lambda: torch.nn.utils.weight_norm(torch.nn.Linear(2, 2)),
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(torch.nn.Linear(2, 2)),
    "lazy": lambda: torch.nn.LazyLinear(3),
    "shuffle": lambda: torch.nn.PixelShuffle(2),
    "loss": lambda: torch.nn.CrossEntropyLoss(),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TORCH_MODULES)
def test_torchs_modules_are_not_flagged(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(TORCH_MODULES[name](), path)
    assert unsafe(data_pickle(path)) == []


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_not_flagged(tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    torch.jit.script(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Dropout())).save(str(path))
    assert unsafe(data_pickle(path)) == []


# Names of frameworks that are not installed here, as their checkpoints have them
HEALTHY_NAMES = """
    made ultralytics.nn.tasks.DetectionModel / made ultralytics.utils.IterableSimpleNamespace
    made ultralytics.nn.modules.conv.Conv / made ultralytics.utils.loss.v8DetectionLoss / made models.yolo.Model
    made models.common.C3 / made utils.autoanchor.Anchors / named utils.torch_utils.fuse_conv_and_bn
    made mmengine.logging.history_buffer.HistoryBuffer / named mmengine.logging.history_buffer.HistoryBuffer.mean
    made mmengine.config.config.ConfigDict / called mmengine.config.config.Config
    made mmcv.cnn.bricks.conv_module.ConvModule / made mmdet.models.detectors.YOLOX
    made mmdet3d.models.voxel_encoders.PillarFeatureNet / made addict.addict.Dict
    made lightning.fabric.utilities.data.AttributeDict / made pytorch_lightning.utilities.parsing.AttributeDict
    named lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint / made omegaconf.dictconfig.DictConfig
    made omegaconf.base.ContainerMetadata / made omegaconf.nodes.AnyNode / made omegaconf.base.Metadata
    called transformers.trainer_utils.IntervalStrategy / made transformers.training_args.TrainingArguments
    called transformers.trainer_utils.SaveStrategy / called accelerate.utils.dataclasses.DistributedType
    made accelerate.state.PartialState / called transformers.training_args.OptimizerNames
    made timm.models.vision_transformer.VisionTransformer / named timm.layers.norm_act.BatchNormAct2d
    called torchvision.transforms.functional.InterpolationMode / made torchvision.transforms.transforms.Compose
    made torchvision.models.resnet.ResNet / made facenet_pytorch.models.mtcnn.PNet
    made detectron2.layers.wrappers.Conv2d / made detectron2.structures.boxes.Boxes / made yacs.config.CfgNode
    made easydict.EasyDict / called pandas._libs.internals._unpickle_block
    called pandas.core.indexes.base._new_Index / made pandas.core.frame.DataFrame
    made pandas.core.internals.managers.BlockManager / called sklearn.tree._tree.Tree
    called sklearn.neighbors._kd_tree.newObj / made sklearn.preprocessing._data.StandardScaler
    called numpy.random.bit_generator.__pyx_unpickle_SeedSequence / made scipy.sparse._csr.csr_matrix
    called tokenizers.Tokenizer / made e3nn.o3._irreps.Irreps / made torch_geometric.data.data.Data
    made code.models.resnet.Net / made __main__.Net / called __main__.Color / named __main__.collate
    made <torch_package_0>.mypkg.nets.Net / made mypkg.utils.os_tools.Net / named posixpath.join
    named os.path.join / named math.sqrt / named operator.add / named _operator.itemgetter / named copy.deepcopy
    called torch._dynamo.eval_frame.OptimizedModule / called torch._dynamo.eval_frame.OptimizeContext
    made torch._dynamo.convert_frame.ConvertFrame / made torch._TorchCompileInductorWrapper
    named contextlib.nullcontext
    named builtins.print / called torch._utils._rebuild_tensor_v2 / called torch.jit._pickle.build_intlist
    named torch.FloatStorage
""".replace("\n", "/").split("/")


def codes(lines: list[str]) -> list[NamedCode]:
    split = [line.strip().split(maxsplit=1) for line in lines if line.strip()]
    return [NamedCode(name, use, "data.pkl", 0) for use, name in split]


def test_the_names_of_healthy_checkpoints_are_not_flagged() -> None:
    listed = codes(HEALTHY_NAMES)
    assert len(listed) > 60
    assert judge(listed) == []


UNSAFE_NAMES = """
    called mypkg.setup / named os.system / made os._wrap_close / named torch.load / made subprocess.Popen
    called extension code 7 / called getattr(mypkg.Net(), 'run') / called torch.jit._pickle.os.system
    called torch._utils._rebuild_tensor.__globals__ / called torch._utils._rebuild_parameter.x
    called os.path.genericpath.os.system / named mypkg.__builtins__ / called code.interact / called code.models.run
    made bdb.Bdb / called collections.namedtuple / called abc.ABCMeta / called enum.EnumMeta
    called argparse.FileType / called configparser.ConfigParser / called evil\u202epkg.Run / called builtins.map
    called builtins.getattr / called functools.reduce / called __builtin__.eval / called copy_reg.pickle
    called mypkg.types.CodeType / made threading.Thread / named pickle.Unpickler / called pathlib.Path.unlink
    called numpy.core._ufunc_reconstruct / called torch.fx.graph_module.reduce_graph_module
    called dill._dill._load_type
""".replace("\n", "/").split("/")


def test_unsafe_names_are_flagged_whatever_is_made_of_them() -> None:
    listed = [
        NamedCode(line.strip().split(maxsplit=1)[1], line.split()[0], "data.pkl", 0)
        for line in UNSAFE_NAMES
        if line.strip()
    ]
    missed = [code for code in listed if not judge([code]) or not judge([code._replace(is_module=True)])]
    assert missed == []


def test_a_name_through_another_modules_attribute_may_be_mentioned_and_not_called() -> None:
    mention = glob("mypkg.nets", "registry.Net")
    assert unsafe(whole(mention)) == []
    assert unsafe(whole(call(mention, 1)))
    assert unsafe(whole(call(glob("mypkg.nets", "Net.Inner"), 1))) == []


def test_pickles_in_strings_are_data() -> None:
    assert (
        unsafe(b"\x80\x04" + data({"note": by_global("os", "system", ("id",)), "text": "cos\nsystem\n."}) + b".") == []
    )
