"""Export of the sample models with PyTorch's two exporters, and the checks of what they wrote."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from _task import Task, example
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException
from torch import Tensor, nn

ABSOLUTE_PATH = re.compile(rb"(?:/(?:home|root|tmp|usr|opt|work|mnt|Users)/|site-packages)[ -~]*")


def export(
    model: nn.Module,
    task: Task,
    path: Path,
    exporter: str,
    opset: int,
    *,
    batch: int = 2,
    dynamic: bool = True,
    mode: torch.onnx.TrainingMode = torch.onnx.TrainingMode.EVAL,
) -> None:
    """Writes one self-contained ONNX file; axis 0 of every input and output is named `batch` if dynamic."""
    inputs = example(task, batch)
    names: dict[str, Any] = {
        "input_names": list(task.inputs),
        "output_names": list(task.outputs),
        "opset_version": opset,
    }
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        if exporter == "dynamo":
            axes = {name: {0: torch.export.Dim("batch")} for name in task.inputs} if dynamic else None
            torch.onnx.export(
                model,
                inputs,
                str(path),
                dynamo=True,
                external_data=False,
                verbose=False,
                dynamic_shapes=axes,
                **names,
            )
        else:
            named = {name: {0: "batch"} for name in (*task.inputs, *task.outputs)} if dynamic else None
            fold = mode is torch.onnx.TrainingMode.EVAL
            torch.onnx.export(
                model,
                inputs,
                str(path),
                dynamo=False,
                training=mode,
                do_constant_folding=fold,
                dynamic_axes=named,
                **names,
            )
    proto = onnx.load(path)
    scrub(proto)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)
    found = ABSOLUTE_PATH.search(path.read_bytes())
    assert found is None, f"{path.name} holds a path: {found}"


def scrub(proto: onnx.ModelProto) -> None:
    """Removes source locations of the machine that exported; other metadata stays."""
    nodes = [*proto.graph.node, *(node for function in proto.functions for node in function.node)]
    for node in nodes:
        kept = [item for item in node.metadata_props if item.key != "pkg.torch.onnx.stack_trace"]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
        if ABSOLUTE_PATH.search(node.doc_string.encode()):
            node.doc_string = ""


def run(path: Path, inputs: tuple[Tensor, ...], names: tuple[str, ...], times: int = 1) -> list[list[np.ndarray]]:
    """What ONNX Runtime gives on the CPU, `times` over in one session; active dropout is kept."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        str(path), options, ["CPUExecutionProvider"], disabled_optimizers=["EliminateDropout"]
    )
    wanted = {item.name for item in session.get_inputs()}
    feed = {name: value.numpy() for name, value in zip(names, inputs, strict=True) if name in wanted}
    return [[np.asarray(output) for output in session.run(None, feed)] for _ in range(times)]


@torch.no_grad()
def difference(path: Path, model: nn.Module, task: Task, batch: int) -> float:
    """Largest absolute difference between the file and the PyTorch model in eval mode on fresh scenes."""
    inputs = example(task, batch, seed=100 + batch)
    expected = model.eval()(*inputs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    worst = 0.0
    for want, got in zip(expected, run(path, inputs, task.inputs)[0], strict=True):
        assert tuple(want.shape) == got.shape, f"{path.name}: {tuple(want.shape)} became {got.shape}"
        worst = max(worst, float(np.abs(want.numpy() - got).max()))
    return worst


def refuses(path: Path, task: Task, batch: int) -> bool:
    """Whether ONNX Runtime cannot run the file on this batch size."""
    try:
        run(path, example(task, batch), task.inputs)
    except (Fail, InvalidArgument, RuntimeException):
        return True
    return False


def versions() -> str:
    """The versions that decide what the files look like."""
    python = ".".join(map(str, sys.version_info[:2]))
    return f"Python {python}, torch {torch.__version__}, onnx {onnx.__version__}, ONNX Runtime {ort.__version__}"
