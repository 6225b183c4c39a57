"""What the tests of evidence share: files to review, a configured project, and the command line."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import yaml

ROOT = Path(__file__).parents[2]
CLEAN = ROOT / "sample_models" / "lane_head.onnx"
FAULTY = ROOT / "sample_models" / "lane_head__dropout_active.onnx"
EPOCH = "1795305600"  # 2026-11-22


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def external(folder: Path) -> Path:
    model = onnx.load(str(CLEAN))
    path = folder / "model.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="weights.data", size_threshold=100)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A configuration that builds on another, waivers, a baseline and a rule card of one's own."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "lane.onnx").write_bytes(FAULTY.read_bytes())
    card = next((ROOT / "rules").glob("3-*/AV301-*.yaml"))
    (tmp_path / "our rules" / card.parent.name).mkdir(parents=True)
    own = tmp_path / "our rules" / card.parent.name / card.name
    own.write_bytes(card.read_bytes().replace(b"\n", b"\r\n"))
    waiver = {"rule": "AV701", "module": "*", "reason": "sampled", "owner": "perception", "expires": "2027-03-31"}
    (tmp_path / "accepted.yaml").write_text(yaml.safe_dump({"waivers": [waiver]}))
    (tmp_path / "known.yaml").write_text(yaml.safe_dump({"schema": "avreview/baseline/1", "findings": []}))
    (tmp_path / "base.yaml").write_text("ignore: [AV409]\n")
    settings = {
        "extends": "base.yaml", "waivers": "accepted.yaml", "baseline": "known.yaml", "rule_folders": ["our rules"],
        "reviews": [{"model": "lane.onnx", "name": "lanes"}],
    }  # fmt: skip
    (tmp_path / "avreview.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def avreview(folder: Path, *words: str | Path, **environment_: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "avreview", *map(str, words)]
    surroundings = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH, **environment_}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=surroundings, check=False)
