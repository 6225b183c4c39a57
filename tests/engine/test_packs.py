"""Rule packs: installed packages whose rules join ours, and what is said of those that cannot."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "pack"
MODEL = ROOT / "sample_models" / "lane_head.onnx"  # opset 17
CARD = (EXAMPLE / "src/team_rules/rules/4-export/TEAM401-opset-beyond-the-vehicle.yaml").read_text("utf-8")
CHECK = """
from avreview.engine.checks import Violation, check
from avreview.artifact import Artifact
from collections.abc import Iterator

@check("{rule}")
def always(artifact: Artifact) -> Iterator[Violation]:
    return iter(())
"""


class Site:
    """A folder that packages are installed in, and commands that find them there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir()
        self.elsewhere = folder.parent

    def install(self, name: str, entry_points: str, files: dict[str, str], version: str = "1.0") -> None:
        """Installs a distribution as a wheel would: its files, and the folder that describes it."""
        described = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        described.mkdir()
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nLong text\n")
        (described / "entry_points.txt").write_text(entry_points)
        for path, text in files.items():
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8")

    def pack(self, prefix: str, package: str, name: str = "", rule: str = "", **files: str) -> None:
        """Installs a pack of one rule without findings; `files` by their names in the package."""
        rule = rule or f"{prefix}401"
        card = CARD.replace("TEAM401", rule).replace("opset-beyond-the-vehicle", name or f"a-rule-of-{package}")
        card = card.replace("team-runtime, onnx-operators", "onnx-operators")
        own = {
            "__init__.py": "",
            "checks.py": CHECK.format(rule=rule),
            f"rules/4-export/{rule}-{name or f'a-rule-of-{package}'}.yaml": card,
        }
        entry_points = f"[console_scripts]\nx = y:z\n\n[avreview.packs]\n{prefix} = {package}\n"
        self.install(
            f"{package}-dist", entry_points, {f"{package}/{path}": text for path, text in {**own, **files}.items()}
        )

    def run(self, *words: str | Path, cwd: Path | None = None, path: Path | None = None) -> Any:
        environment = {**os.environ, "PYTHONPATH": str(path or self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "avreview", *map(str, words)]
        return subprocess.run(
            command,
            cwd=cwd or self.elsewhere,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def json(self, *words: str | Path) -> dict[str, Any]:
        ended = self.run("check", *words, "-f", "json")
        assert ended.stderr == ""
        found: dict[str, Any] = json.loads(ended.stdout)
        return found

    def complaint(self, *words: str | Path) -> str:
        """The one line of a command that ends with 2."""
        ended = self.run(*(words or ("check", MODEL)))
        assert (ended.returncode, ended.stdout) == (2, ""), ended.stdout
        assert ended.stderr.startswith("avreview: ")
        assert ended.stderr.count("\n") == 1, ended.stderr
        return str(ended.stderr)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def example(site: Site) -> Site:
    """The worked example, installed."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))["project"]
    ((prefix, package),) = project["entry-points"]["avreview.packs"].items()
    site.install(project["name"], f"[avreview.packs]\n{prefix} = {package}\n", {}, project["version"])
    shutil.copytree(EXAMPLE / "src", site.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return site


# The worked example


def test_the_example_s_rule_joins_the_catalogue(example: Site) -> None:
    assert "TEAM401  error    opset-beyond-the-vehicle" in example.run("rules").stdout
    explained = " ".join(example.run("explain", "TEAM401").stdout.split())
    assert "frozen for its safety case" in explained
    assert "Perception runtime, release notes" in explained  # its own source
    assert "ONNX operator schemas" in explained or "onnx.ai" in explained  # one of ours
    for word in ("TEAM", "team401", "opset-beyond-the-vehicle"):
        (review,) = example.json(MODEL, "--select", word)["reviews"]
        assert [rule["rule"] for rule in review["rules"]] == ["TEAM401"]
    (review,) = example.json(MODEL)["reviews"]
    assert review["rules"][-1] == {"rule": "TEAM401", "name": "opset-beyond-the-vehicle", "verdict": "pass"}
    assert {"TEAM401", "AV401"} <= {
        rule["rule"] for rule in example.json(MODEL, "--select", "item4")["reviews"][0]["rules"]
    }


def test_the_report_names_the_packs_in_force(example: Site) -> None:
    tool = example.json(MODEL, "--select", "TEAM401")["tool"]
    own, pack = tool["packs"]
    assert own["name"] == "avreview"
    assert (pack["name"], pack["version"], pack["cards"]) == ("team-rules", "1.0.0", 1)
    code = example.folder / "team_rules" / "checks.py"
    code.write_text(code.read_text("utf-8") + "# changed\n", "utf-8")
    changed = example.json(MODEL, "--select", "TEAM401")["tool"]
    assert changed["packs"][1]["digest"] != pack["digest"]
    assert changed["rules"] == tool["rules"]  # the cards are the same


def test_isolated_leaves_packs_out(example: Site) -> None:
    isolated = example.json(MODEL, "--isolated")
    assert [pack["name"] for pack in isolated["tool"]["packs"]] == ["avreview"]
    assert all(rule["rule"].startswith("AV") for rule in isolated["reviews"][0]["rules"])
    assert "no rule is called 'TEAM401'" in example.complaint("check", MODEL, "--isolated", "--select", "TEAM401")


def test_a_configuration_speaks_of_a_pack_s_rules(example: Site) -> None:
    config = example.elsewhere / "avreview.yaml"
    config.write_text("rules: {TEAM401: {thresholds: {max_opset: 16}, severity: warning}}\nselect: TEAM\n")
    ended = example.run("check", MODEL, "--config", config, "-f", "json")
    (finding,) = json.loads(ended.stdout)["reviews"][0]["findings"]
    assert (finding["rule"], finding["severity"], finding["observed"]) == ("TEAM401", "warning", {"opset": 17})


def test_the_example_s_own_tests_pass(example: Site) -> None:
    environment = {**os.environ, "PYTHONPATH": str(example.folder)}
    options = ["-p", "no:cacheprovider", "-c", str(EXAMPLE / "pyproject.toml"), str(EXAMPLE / "tests")]
    command = [sys.executable, "-m", "pytest", *options]
    ended = subprocess.run(command, cwd=example.elsewhere, env=environment, capture_output=True, text=True, timeout=120)
    assert "2 passed" in ended.stdout, ended.stdout + ended.stderr


def test_pip_installs_the_example(site: Site, tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="pip needs it to build the package without the network")
    source = tmp_path / "source"
    shutil.copytree(EXAMPLE, source)
    options = ["--quiet", "--no-index", "--no-build-isolation", "--no-deps", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(site.folder), str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    tool = site.json(MODEL, "--select", "TEAM401")["tool"]
    assert tool["packs"][1]["name"] == "team-rules"


def test_one_process_reviews_with_packs_and_without(example: Site) -> None:
    code = f"""
import avreview, json
model = {str(MODEL)!r}
texts = []
for packs in (False, True, False):
    report = avreview.review(model, packs=packs)
    texts.append((sorted({{rule.rule[:-3] for rule in report.reviews[0].rules}}), report.reviews))
assert [prefixes for prefixes, _ in texts] == [["AV"], ["AV", "TEAM"], ["AV"]], texts
assert texts[0] == texts[2]
"""
    environment = {**os.environ, "PYTHONPATH": str(example.folder)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)


def test_a_pack_s_own_tests_may_import_its_checks(example: Site) -> None:
    code = f"""
from team_rules.checks import opset_beyond_the_vehicle
import avreview
(review,) = avreview.review({str(MODEL)!r}, select=["TEAM401"]).reviews
assert review.verdict is avreview.Verdict.PASS
"""
    environment = {**os.environ, "PYTHONPATH": str(example.folder)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)


def test_a_removed_working_folder_keeps_nobody_from_a_review(site: Site, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f'rmdir "{gone}" && exec "{sys.executable}" -P -m avreview check "{MODEL}" --isolated --quiet'
    if sys.version_info < (3, 11):
        command = command.replace(" -P", "")
    ended = subprocess.run(["sh", "-c", command], cwd=gone, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, "")


# What goes wrong


def test_two_packs_with_one_prefix_are_both_named(site: Site) -> None:
    site.pack("TEAM", "first")
    site.pack("TEAM", "second")
    for words in (("check", MODEL), ("rules",), ("explain", "AV301")):
        complaint = site.complaint(*words)
        assert "first-dist 1.0" in complaint
        assert "second-dist 1.0" in complaint
        assert "TEAMnnn" in complaint
    assert site.run("check", MODEL, "--isolated").returncode == 0


@pytest.mark.parametrize("prefix", ["AV", "ITEM", "team", "T", "TEAM1", "TOOLONGAPREFIX", "TE-AM"])
def test_a_prefix_is_capital_letters_and_not_ours(site: Site, prefix: str) -> None:
    site.pack(prefix, "stranger", rule="TEAM401")
    complaint = site.complaint()
    assert "stranger-dist 1.0" in complaint
    assert "--isolated" in complaint


def test_a_name_that_another_rule_has_is_an_error_that_names_both(site: Site) -> None:
    site.pack("TEAM", "mimic", name="dropout-active-at-inference")
    complaint = site.complaint()
    for word in ("mimic-dist 1.0", "TEAM401", "AV701", "dropout-active-at-inference"):
        assert word in complaint


BROKEN: dict[str, Callable[[Site], None]] = {
    "it raises as it is imported": lambda site: site.pack("TEAM", "broken", **{"facts.py": "import no_such_module\n"}),
    "it ends the process": lambda site: site.pack("TEAM", "broken", **{"facts.py": "raise SystemExit(0)\n"}),
    "it is no Python": lambda site: site.pack("TEAM", "broken", **{"checks.py": "def (\n"}),
    "it decides a rule of ours": lambda site: site.pack("TEAM", "broken", **{"more.py": CHECK.format(rule="AV999")}),
    "it decides a rule twice": lambda site: site.pack("TEAM", "broken", **{"more.py": CHECK.format(rule="TEAM401")}),
    "a check has no card": lambda site: site.pack("TEAM", "broken", **{"more.py": CHECK.format(rule="TEAM402")}),
    "a card has no check": lambda site: site.pack("TEAM", "broken", **{"checks.py": ""}),
    "it provides a fact of ours": lambda site: site.pack("TEAM", "broken", **{
        "facts.py": "from avreview.engine.resolve import fact\nfrom avreview.facts.layers import Layers\n"
                    "@fact\ndef layers() -> Layers:\n    return None\n"}),
    "a signature names nothing": lambda site: site.pack("TEAM", "broken", **{
        "checks.py": CHECK.format(rule="TEAM401").replace("artifact: Artifact", "artifact: Artefact")}),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_a_pack_that_cannot_be_used_is_one_line_and_two(site: Site, how: str) -> None:
    BROKEN[how](site)
    complaint = site.complaint()
    assert "broken-dist 1.0" in complaint or "TEAM40" in complaint
    assert site.run("check", MODEL, "--isolated").returncode == 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"rules/4-export/OTHER401-stray.yaml": CARD}, "OTHER401"),
        ({"rules/4-export/TEAM501-astray.yaml": CARD}, "TEAM501"),
        ({"rules/4-export/notes.yaml": "x: 1\n"}, "notes.yaml"),
        ({"rules/4-export/TEAM402-other.yaml": CARD}, "differ from its file name"),
        ({"rules/4-export/TEAM402-other.yaml": "id: TEAM402\nname: other\n"}, "does not say its summary"),
        ({"rules/4-export/TEAM402-other.yaml": "id: TEAM402\nname: other\nsummary: [\n"}, "YAML"),
    ],
)
def test_a_card_that_cannot_be_used_is_named(site: Site, wrong: dict[str, str], words: str) -> None:
    site.pack("TEAM", "broken", **wrong)
    complaint = site.complaint()
    assert "broken-dist 1.0" in complaint
    assert words in complaint


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("severity: error", "severity: fatal", "severity"),
        ("needs: [graph]", "needs: [grahp]", "grahp"),
        ("    value: 20", "    value: twenty", "max_opset"),
        ("    value: 20\n", "", "TypeError"),
    ],
)
def test_a_value_of_a_card_that_cannot_be_used_is_named(example: Site, old: str, new: str, words: str) -> None:
    card = next(example.folder.rglob("TEAM401-*.yaml"))
    card.write_text(card.read_text("utf-8").replace(old, new), "utf-8")
    assert words in example.complaint()


def test_an_entry_point_without_its_package_is_named(site: Site) -> None:
    site.install("lost", "[avreview.packs]\nTEAM = no_such_package\n", {})
    assert "lost 1.0 names the package no_such_package, which is not installed" in site.complaint()
    assert site.run("rules").returncode == 2


def test_a_module_is_no_pack(site: Site) -> None:
    site.install("flat", "[avreview.packs]\nTEAM = flat_rules\n", {"flat_rules.py": ""})
    assert "flat_rules" in site.complaint()


# What is not looked at


def test_a_checkout_under_review_is_no_place_for_packs(site: Site) -> None:
    site.pack("TEAM", "planted", **{"facts.py": "open('ran', 'w').close()\n"})
    ended = site.run("check", MODEL, cwd=site.folder, path=site.elsewhere / "empty")
    assert ended.returncode == 0
    assert not (site.folder / "ran").exists()


def test_listing_rules_runs_nothing_of_a_pack(site: Site) -> None:
    site.pack("TEAM", "lazy", **{"facts.py": "import sys\nprint('ran', file=sys.stderr)\n"})
    for words in (("rules",), ("explain", "TEAM401"), ("check", "--show-settings")):
        assert site.run(*words).stderr == ""
    assert "ran" in site.run("check", MODEL).stderr


def test_a_review_without_packs_imports_nothing_for_them() -> None:
    code = (
        f"import sys, avreview; avreview.review({str(MODEL)!r}, select=['AV409'])\n"
        "print(sorted({'avreview.engine.packs', 'avreview.cache', 'importlib.metadata'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert ended.stdout == "[]\n"


def test_the_example_is_as_tidy_as_the_house() -> None:
    for words in (["check"], ["format", "--check"]):
        subprocess.run([sys.executable, "-m", "ruff", *words, str(EXAMPLE)], check=True, cwd=ROOT, timeout=60)
