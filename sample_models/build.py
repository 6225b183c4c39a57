"""Builds the sample models: trains four small networks, exports them, and exports each again with one fault.

    python sample_models/build.py [file name ...]

Needs torch, onnx, onnxscript, onnxruntime and PyYAML, and some four minutes on one core. Without names it
also rewrites expected.yaml and the table in README.md.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import _faults as faults
import onnx
import torch
import yaml
from _catalogue import SAMPLES, Sample
from _export import difference, export, refuses, run, versions
from _proof import Evidence, dead_units
from _task import TASKS, Task, example
from _train import train
from torch import nn

HERE = Path(__file__).resolve().parent
LARGEST_FILE = 200_000
TOLERANCE = 1e-4


def build(sample: Sample, trained: nn.Module, task: Task) -> str:
    """Exports one sample, asserts that it is what the catalogue says, and describes it in a line."""
    model = sample.change(copy.deepcopy(trained))
    path = HERE / sample.file
    reference = copy.deepcopy(model)
    export(
        model,
        task,
        path,
        sample.exporter,
        sample.opset,
        batch=sample.batch,
        dynamic=sample.dynamic,
        mode=sample.mode,
    )
    proto = onnx.load(path)
    assert sample.shows(proto), f"{path.name} does not show its fault"
    assert [o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")] == [sample.opset], path.name
    size = path.stat().st_size
    assert size < LARGEST_FILE, f"{path.name} has {size} bytes"
    fixed = sample.change is faults.baked_batch or not sample.dynamic
    batches = (sample.batch,) if fixed else (1, 2, 5)
    said = ""
    if sample.parity:
        worst = max(difference(path, reference, task, batch) for batch in batches)
        assert worst < TOLERANCE, f"{path.name} differs from PyTorch by {worst}"
        said = f"differs by {worst:.1e}"
    elif sample.random:
        first, second = run(path, example(task, 4), task.inputs, times=2)
        assert any((a != b).any() for a, b in zip(first, second, strict=True)), f"{path.name} repeats itself"
        said = "differs from run to run"
    else:
        run(path, example(task, batches[-1]), task.inputs)
        said = "runs"
    if sample.change is faults.dead_filters:
        assert set(dead_units(reference, task)) == {"backbone.1.act1"}
    if sample.change is faults.baked_batch:
        assert refuses(path, task, 3), f"{path.name} takes another batch"
        said += ", refuses a batch of 3"
    return f"  {sample.file:58} {size:7,} bytes  {said}"


def describe(task: Task, evidence: Evidence) -> str:
    """How training went, in a line."""
    name, least = evidence.least_moved
    return (
        f"{task.name}: loss {evidence.loss_start:.3f} -> {evidence.loss_end:.3f}; "
        f"least moved {name}, by {least:.2f} of its norm"
    )


def write_expected() -> None:
    """Writes expected.yaml: file name -> the rule and module of each seeded fault."""
    expected = {s.file: [{"rule": rule, "module": module} for rule, module in s.findings] for s in SAMPLES}
    head = "# The seeded faults of each sample model; written by build.py. module: PyTorch path, or null.\n"
    (HERE / "expected.yaml").write_text(head + yaml.safe_dump(expected, sort_keys=False, default_flow_style=None))


def write_table() -> None:
    """Writes the table of files into README.md, between its two markers."""
    rows = ["| file | what it is | exporter, opset | KB | rule | module |", "|---|---|---|---|---|---|"]
    for s in SAMPLES:
        rules = ", ".join(rule for rule, _ in s.findings) or "–"
        modules = ", ".join(dict.fromkeys(f"`{module}`" for _, module in s.findings if module)) or "–"
        size = round((HERE / s.file).stat().st_size / 1000)
        rows.append(f"| `{s.file}` | {s.what} | {s.exporter}, {s.opset} | {size} | {rules} | {modules} |")
    readme = HERE / "README.md"
    before, rest = readme.read_text().split("<!-- files -->\n")
    after = rest.split("<!-- /files -->")[1]
    readme.write_text(before + "<!-- files -->\n" + "\n".join(rows) + "\n<!-- /files -->" + after)


def main(names: list[str]) -> int:
    """Builds the named files, or all of them."""
    unknown = set(names) - {sample.file for sample in SAMPLES}
    if unknown:
        print(f"no such sample: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    print(versions())
    for task in TASKS.values():
        wanted = [s for s in SAMPLES if s.task == task.name and (not names or s.file in names)]
        if not wanted:
            continue
        trained, evidence = train(task)
        print(describe(task, evidence), flush=True)
        for sample in wanted:
            print(build(sample, trained, task), flush=True)
    if not names:
        write_expected()
        write_table()
        total = sum((HERE / sample.file).stat().st_size for sample in SAMPLES)
        print(f"{len(SAMPLES)} files, {total:,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
