from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_report_snapshots import check_snapshot

from avreview.engine.cards import Catalogue, catalogue
from avreview.errors import UsageError
from avreview.report.catalogue import card_dict, catalogue_dict, write_card, write_cards, write_rules

CHECKLIST = """
- {item: 3, folder: 3-batch-statistics, title: Batch statistics, question: Which norms depend on the batch?}
- {item: 7, folder: 7-dropout, title: Dropout, question: Where is dropout used?}
"""
SOURCES = """
paper:
  title: A Paper on Norms
  authors: Ada, Grace
  year: 2015
  url: https://example.org/paper
notes: {title: Notes}
"""
CARD = """
id: AV301
name: batch-statistics
item: 3
severity: error
needs: [[weights, graph], module-tree]
summary: A norm computes its statistics from the batch.
why: |
  The output of one camera depends on the others, and that is a long enough sentence to be wrapped at eighty columns.

  A second paragraph.
decides: |
  Compared within `tolerance`:
  - the first case, which goes on
    over a second line;
  - the second case.
  What holds of both.
thresholds:
  tolerance: {value: 1.0e-06, unit: absolute, meaning: how far a value may lie, source: "measured on 248 layers"}
bad: |
  model.train()
      indented()
good: model.eval()
remedy: Call `model.eval()`.
blind_spots: None known.
suppress_when: Never.
sources: [paper §3.1, notes]
"""
PLANNED = """
id: AV701
name: dropout-active
item: 7
severity: warning
planned: true
needs: [running]
summary: A dropout still drops.
why: Frames jitter.
decides: It is run twice.
thresholds: {}
remedy: Disable it.
sources: []
"""


@pytest.fixture
def small(tmp_path: Path) -> Catalogue:
    for name, text in {
        "checklist.yaml": CHECKLIST,
        "sources.yaml": SOURCES,
        "3-batch-statistics/AV301-batch-statistics.yaml": CARD,
        "7-dropout/AV701-dropout-active.yaml": PLANNED,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Catalogue(tmp_path)


def rules(known: Catalogue, **options: Any) -> str:
    stream = io.StringIO()
    write_rules(known, stream, **{"width": 80, **options})
    return stream.getvalue()


def card(known: Catalogue, rule: str, **options: Any) -> str:
    stream = io.StringIO()
    write_card(known[rule], known, stream, **{"width": 80, **options})
    return stream.getvalue()


def test_catalogue_looks_as_it_did(small: Catalogue) -> None:
    check_snapshot("rules-80.txt", rules(small))
    check_snapshot("rules-160.txt", rules(small, width=160))


def test_card_looks_as_it_did(small: Catalogue) -> None:
    check_snapshot("explain-80.txt", card(small, "AV301"))


def test_planned_rule_says_that_it_is_not_decided_yet(small: Catalogue) -> None:
    assert "cannot decide it yet" in " ".join(card(small, "AV701").split())
    assert "cannot decide it yet" not in " ".join(card(small, "AV301").split())


def test_list_can_be_restricted(small: Catalogue) -> None:
    text = rules(small, rules={"AV701"})
    assert "AV701" in text
    assert "AV301" not in text
    assert "1 rule: 0 decided by this version, 1 planned." in text


def test_several_cards_follow_one_another(small: Catalogue) -> None:
    stream = io.StringIO()
    write_cards(list(small), small, stream, width=80)
    assert stream.getvalue() == card(small, "AV301") + "\n\n" + card(small, "AV701")


@pytest.mark.parametrize(("format", "read"), [("yaml", yaml.safe_load), ("json", json.loads)])
def test_catalogue_as_data(small: Catalogue, format: str, read: Any) -> None:
    assert read(rules(small, format=format)) == catalogue_dict(small)
    assert read(card(small, "AV301", format=format)) == card_dict(small["AV301"], small)
    stream = io.StringIO()
    write_cards(list(small), small, stream, format=format)
    assert read(stream.getvalue())["cards"] == [card_dict(entry, small) for entry in small]


def test_card_as_data_is_whole(small: Catalogue) -> None:
    data = card_dict(small["AV301"], small)
    assert data["needs"] == [["weights", "graph"], ["module-tree"]]
    assert data["thresholds"]["tolerance"]["value"] == 1e-6
    assert data["sources"][0] == {
        "id": "paper", "title": "A Paper on Norms", "authors": "Ada, Grace", "year": 2015, "place": "§3.1",
        "url": "https://example.org/paper",
    }  # fmt: skip
    assert data["sources"][1] == {"id": "notes", "title": "Notes"}


def test_unknown_format_is_a_usage_error(small: Catalogue) -> None:
    with pytest.raises(UsageError):
        rules(small, format="pdf")


def test_every_card_that_ships_can_be_printed() -> None:
    known = catalogue()
    listed = rules(known)
    for entry in known:
        text = " ".join(card(known, entry.id).split())
        assert f" {entry.id} " in listed
        for part in (entry.summary, entry.remedy, entry.suppress_when):
            assert " ".join(part.split()) in text
        for name in entry.thresholds:
            assert f"{name} =" in text
        assert all(known.cite(reference).title in text for reference in entry.sources)


def test_catalogue_needs_no_heavy_library() -> None:
    program = """
import io, sys
from avreview.engine.cards import catalogue
from avreview.report.catalogue import write_card, write_rules
known = catalogue()
write_rules(known, io.StringIO())
write_card(known["AV301"], known, io.StringIO())
heavy = ["torch", "onnx", "onnxruntime", "onnx_ir", "numpy", "rich.markdown", "rich.syntax", "pygments"]
print([name for name in heavy if name in sys.modules])
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
