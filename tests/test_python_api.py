"""The public names: what docs/python.md shows works as shown, and importing avreview costs nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import avreview
from avreview.probes.request import ProbeRequest, named_probes

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
MODEL = ROOT / "sample_models" / "lane_head.onnx"
FAULTY = ROOT / "sample_models" / "lane_head__dropout_active.onnx"


def test_every_example_shows_what_it_prints() -> None:
    assert len(EXAMPLES) == PAGE.count("```python") >= 5


@pytest.mark.parametrize(("code", "printed"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_prints_what_the_page_says(code: str, printed: str, tmp_path: Path) -> None:
    (tmp_path / "sample_models").symlink_to(ROOT / "sample_models")
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (ended.stderr, ended.stdout) == ("", printed)


def test_importing_avreview_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import avreview; print(sorted(set(sys.modules) - before))"
    ended = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.stdout == "['avreview']\n", ended.stderr


def test_every_public_name_is_there_and_is_the_one_that_it_is_called() -> None:
    assert sorted(name for names in avreview._PLACES.values() for name in names) == sorted(
        set(avreview.__all__) - {"__version__"}
    )
    for name in avreview.__all__:
        assert getattr(avreview, name) is not None
        assert name in dir(avreview)
        assert name == "__version__" or getattr(avreview, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'revue'"):
        _ = avreview.revue  # type: ignore[attr-defined]


def test_the_page_names_what_there_is() -> None:
    for kind in ("Report", "Review", "Answer", "RuleOutcome", "Finding", "Location"):
        (row,) = re.findall(rf"^\| `{kind}` \| (.*) \|$", PAGE, re.MULTILINE)
        for name in re.findall(r"`(\w+)", row):
            assert hasattr(getattr(avreview, kind), name), (kind, name)
    row = next(line for line in PAGE.splitlines() if line.startswith("| `Report`"))
    assert set(re.findall(r"`(\w+)", row)) >= set(avreview.Report._fields)


def test_a_single_path_is_one_model() -> None:
    for models in (str(MODEL), MODEL, [MODEL]):
        (review,) = avreview.review(models, select=["AV701"]).reviews
        assert review.subject["model"]["path"] == str(MODEL)


def test_probes_are_named_or_asked_for_with_their_limits() -> None:
    for probes in (["repeat"], ProbeRequest(named_probes(["repeat"]))):
        (review,) = avreview.review(FAULTY, select=["AV702"], probes=probes).reviews
        assert [finding.rule for finding in review.findings] == ["AV702"]
    with pytest.raises(avreview.UsageError, match="did you mean repeat"):
        avreview.review(FAULTY, probes=["repeet"])


def test_the_cache_is_used_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache"
    monkeypatch.setenv("AVREVIEW_CACHE_DIR", str(folder))
    plain = avreview.review(MODEL)
    assert not folder.exists()
    first, second = (avreview.review(MODEL, cache=True) for _ in range(2))
    assert len(list(folder.iterdir())) == 1
    texts = [avreview.to_dict(report)["reviews"] for report in (plain, first, second)]
    assert texts[0] == texts[1] == texts[2]


def test_nothing_to_review_is_no_pass() -> None:
    """What a pattern without a match gives."""
    with pytest.raises(avreview.UsageError, match="nothing to review; name a model"):
        avreview.review([])
