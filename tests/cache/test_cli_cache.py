"""`--cache` on the command line: the second run is the first one's report, without the work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "sample_models"
FAULTY = SAMPLES / "lane_head__dropout_active.onnx"


def avreview(folder: Path, *words: str | Path, code: tuple[str, ...] = ("-m", "avreview")) -> tuple[int, str, str]:
    environment = {**os.environ, "AVREVIEW_CACHE_DIR": str(folder), "SOURCE_DATE_EPOCH": "1795305600"}
    ended = subprocess.run(
        [sys.executable, *code, *map(str, words)],
        cwd=SAMPLES,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_the_second_run_says_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    plain = avreview(folder, "check", FAULTY, "-f", "json")
    assert (plain[0], plain[2], folder.exists()) == (1, "", False)
    first, second = (avreview(folder, "check", FAULTY, "-f", "json", "--cache") for _ in range(2))
    assert first == second == plain
    assert len(list(folder.iterdir())) == 1
    assert avreview(folder, "check", FAULTY, "-f", "json", "--cache", "--no-cache") == plain


def test_the_second_run_opens_no_model_and_loads_no_check(tmp_path: Path) -> None:
    code = (
        "import sys; from avreview.cli.main import main; sys.argv[0] = 'avreview'\n"
        "try: main()\n"
        "finally: print(sorted({'numpy', 'onnx', 'avreview.checks', 'avreview.load.source'} & set(sys.modules)))\n"
    )
    loaded = [avreview(tmp_path / "kept", "check", FAULTY, "-f", "github", "--cache", code=("-c", code)) for _ in "12"]
    assert [ended[1].splitlines()[-1] for ended in loaded] == [
        "['avreview.checks', 'avreview.load.source', 'numpy']", "[]"
    ]  # fmt: skip


def test_a_folder_that_cannot_be_used_is_said_and_the_review_made(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    folder.chmod(0o777)
    code, out, err = avreview(folder, "check", FAULTY, "--cache")
    assert code == 1
    assert "AV701" in out
    assert "can be written by others" in err
    assert err.count("\n") == 1
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    code, _, err = avreview(tmp_path / "kept", "check", FAULTY, "--cache")
    assert code == 1
    assert "Permission denied" in err
