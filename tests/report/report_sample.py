"""A made-up report with everything in it: findings of each severity, folded places, tables, rules left open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from avreview.engine.review import (
    Answer,
    Finding,
    Location,
    Report,
    Review,
    RuleOutcome,
    Scalar,
    Severity,
    Verdict,
)

QUESTIONS = {
    0: "Can the artifact be reviewed at all?",
    1: "Does initialization match activation?",
    2: "Are pretrained and newly initialized modules treated separately?",
    3: "Which normalization layers depend on batch statistics?",
    4: "Are train/eval modes tested after export?",
    5: "Are normalization stats frozen, synced, or recalibrated?",
    6: "Which parameters receive weight decay?",
    7: "Where is dropout used, and is it disabled at inference?",
    8: "Do augmentations preserve labels and geometry?",
    9: "Are temporal augmentations consistent with velocity and tracking labels?",
}
MODEL = "exports/bevfusion-r18.onnx"
NEEDS_OPTIMIZER = "needs a checkpoint with optimizer state; pass --checkpoint"
NEEDS_RECIPE = "needs the training recipe; pass --recipe"
NEEDS_RUN = "needs the model to be run; pass --probe"
WHY_BATCH = """A batch norm in training mode normalizes each sample with the mean and variance of whatever else is in
its batch. On a vehicle the batch is one scene, or six cameras of one scene: a truck filling one image changes the
scores of the other five."""
DO_BATCH = "Call `model.eval()` before exporting, export with the default `training` mode, and export again."
WHY_BIAS = (
    "The mean that the norm subtracts takes the bias with it: a parameter that is trained, stored and never felt."
)
DO_BIAS = "Build the convolution with `bias=False`, or fold norm and bias when exporting."


def at(module: str, op: str, tensor: str | None = None) -> Location:
    return Location(MODEL, node=f"/{module.replace('.', '/')}/{op}", module=module, tensor=tensor)


def findings() -> list[Finding]:
    norms = [at(f"backbone.layer{1 + n // 5}.{n % 5 // 2}.bn{1 + n % 2}", "BatchNormalization") for n in range(19)]
    batch = Finding(
        rule="AV301", name="batch-statistics-at-inference", item=3, severity=Severity.ERROR,
        location=at("neck.bn1", "BatchNormalization"), also=norms,
        message="20 of 21 batch norms compute their statistics from the batch they are given.",
        observed={"training_mode": 1, "outputs": 3}, expected={"training_mode": 0, "outputs": 1},
        why=WHY_BATCH, remedy=DO_BATCH,
    )  # fmt: skip
    variance = Finding(
        rule="AV502", name="norm-stats-degenerate", item=5, severity=Severity.ERROR,
        location=at("neck.bn3", "BatchNormalization", "neck.bn3.running_var"),
        message="3 of 128 running variances are negative.",
        observed={"minimum": -0.00341796875, "negative_channels": [4, 17, 101]}, expected={"minimum": "> 0"},
        why="The square root of a negative variance is NaN, and one NaN reaches every output behind it.",
        remedy="Find what wrote the statistics (an averaging of checkpoints, a cast to half precision) and recompute "
        "them over the training data.",
    )  # fmt: skip
    bias = [
        Finding(
            rule="AV304", name="bias-before-norm", item=3, severity=Severity.NOTE,
            location=at(f"neck.lateral{n}.conv", "Conv", f"neck.lateral{n}.conv.bias"),
            message=f"The bias of neck.lateral{n}.conv is subtracted again by neck.lateral{n}.bn.",
            observed={"bias_abs_max": 0.0312 * (n + 1)}, expected={"bias": "none"}, why=WHY_BIAS, remedy=DO_BIAS,
        )
        for n in range(2)
    ]  # fmt: skip
    dropout = Finding(
        rule="AV705", name="dropout-rate-extreme", item=7, severity=Severity.WARNING,
        location=Location("configs/bevfusion.yaml", module="head.shared.drop", line=118),
        message="Dropout of 0.7 in a layer of 64 units.",
        observed={"p": 0.7}, expected={"p": "below 0.5"},
        why="So much noise in a narrow layer costs more signal than it regularizes.",
        remedy="Lower p to 0.1, or leave the dropout out.",
    )  # fmt: skip
    return [batch, *bias, variance, dropout]


def norm_table() -> list[dict[str, Scalar]]:
    return [
        {
            "layer": "neck.bn3" if n == 20 else f"backbone.layer{1 + n // 5}.{n % 5 // 2}.bn{1 + n % 2}",
            "kind": "BatchNorm", "statistics": "running" if n == 20 else "batch", "channels": 64 * (1 + n // 5),
            "eps": 1e-5, "momentum": 0.1, "gamma_mean": round(0.98 + n / 100, 2), "folded": False,
        }
        for n in range(21)
    ]  # fmt: skip


def checklist() -> list[Answer]:
    def answer(
        item: int, verdict: Verdict, words: str, decided: int, rules: int, table: Sequence[Mapping[str, Scalar]] = ()
    ) -> Answer:
        return Answer(item, f"Item {item}", QUESTIONS[item], verdict, words, table, decided, rules)

    open_, absent = Verdict.NOT_ASSESSED, Verdict.NOT_APPLICABLE
    return [
        answer(0, Verdict.PASS, "The file is whole: every weight is finite, and the graph is valid ONNX.", 3, 4),
        answer(1, Verdict.PASS, "53 of 53 layers are trained; none is still at an initialization.", 5, 10),
        answer(2, open_, f"{NEEDS_OPTIMIZER.capitalize()}.", 0, 5),
        answer(3, Verdict.FAIL, "1 of 21 batch norms uses running statistics; 20 compute batch statistics at "
               "inference.", 4, 7, norm_table()),
        answer(4, Verdict.ATTENTION, "The graph holds no random operator; nothing shows that it was compared with its "
               "source.", 4, 13),
        answer(5, Verdict.FAIL, "21 norms have statistics; those of neck.bn3 are out of range.", 5, 9,
               [{"layer": "neck.bn3", "tensor": "neck.bn3.running_var", "minimum": -0.00341796875, "maximum": 1.25}]),
        answer(6, open_, f"{NEEDS_OPTIMIZER.capitalize()}, or the training recipe; pass --recipe.", 0, 8),
        answer(7, Verdict.ATTENTION, "1 dropout, disabled at inference.", 5, 6,
               [{"layer": "head.shared.drop", "p": 0.7, "active": False}]),
        answer(8, open_, f"{NEEDS_RECIPE.capitalize()}.", 0, 11),
        answer(9, absent, "One frame in, one frame out: there is nothing temporal to augment.", 8, 8),
    ]  # fmt: skip


def outcomes() -> list[RuleOutcome]:
    found = {"AV301": Verdict.FAIL, "AV304": Verdict.ATTENTION, "AV502": Verdict.FAIL, "AV705": Verdict.ATTENTION}
    spans = {1: 10, 2: 5, 3: 7, 4: 13, 5: 9, 6: 8, 7: 6, 8: 11, 9: 8}
    reasons = {2: NEEDS_OPTIMIZER, 6: NEEDS_OPTIMIZER, 8: NEEDS_RECIPE}
    rules = [RuleOutcome(f"AV00{n}", f"artifact-rule-{n}", 0, Verdict.PASS) for n in (1, 2, 4)]
    rules.append(RuleOutcome("AV003", "unsafe-pickle", 0, Verdict.NOT_APPLICABLE, "not a pickle"))
    for item, span in spans.items():
        for n in range(1, span + 1):
            rule = f"AV{item}{n:02}"
            name = f"rule-{n}-of-item-{item}"
            if rule in found:
                rules.append(RuleOutcome(rule, name, item, found[rule]))
            elif item in reasons:
                rules.append(RuleOutcome(rule, name, item, Verdict.NOT_ASSESSED, reasons[item]))
            elif item == 9:
                rules.append(RuleOutcome(rule, name, item, Verdict.NOT_APPLICABLE, "no temporal input"))
            elif n % 3 == 0:
                rules.append(RuleOutcome(rule, name, item, Verdict.NOT_ASSESSED, NEEDS_RUN))
            else:
                rules.append(RuleOutcome(rule, name, item, Verdict.PASS))
    return rules


def subject() -> dict[str, dict[str, object]]:
    return {
        "model": {
            "path": MODEL, "sha256": "3f2a9c1b7e04" + "0" * 52, "bytes": 46_812_345, "format": "onnx",
            "producer": "pytorch 2.13.0", "opset": 17, "ir_version": 10, "modality": None,
        },
        "recipe": {"path": "configs/bevfusion.yaml", "sha256": "b" * 64, "bytes": 5821, "format": "mmdetection3d"},
    }  # fmt: skip


def full_review() -> Review:
    return Review(
        subject(), Verdict.FAIL, checklist(), outcomes(), findings(),
        ["Two operators of the domain `com.vendor` are not known; what lies behind them was followed by shape only."],
    )  # fmt: skip


def clean_review() -> Review:
    rules = [RuleOutcome("AV301", "batch-statistics-at-inference", 3, Verdict.PASS)]
    rules.append(RuleOutcome("AV302", "batch-coupled-output", 3, Verdict.NOT_ASSESSED, NEEDS_RUN))
    answers = [
        Answer(3, "Batch statistics", QUESTIONS[3], Verdict.PASS, "4 batch norms, all on running statistics.", (), 1, 2)
    ]
    facts = {"path": "exports/lane-net.onnx", "sha256": "a" * 64, "bytes": 812, "format": "onnx", "producer": None}
    return Review({"model": facts}, Verdict.PASS, answers, rules, [])


def full_report() -> Report:
    return Report("0.1.0", "sha256:" + "1f3c9a2b" * 8, [full_review()])


def two_reviews() -> Report:
    lost = [("exports/cut-off.onnx", "exports/cut-off.onnx: the file ends in the middle of a tensor; copy it again")]
    return Report("0.1.0", "sha256:" + "1f3c9a2b" * 8, [full_review(), clean_review()], lost)


def small_report() -> Report:
    """Three rules, one finding, and a file that could not be read: enough to see a format's form."""
    kept = ("AV304", "AV502", "AV601")
    names = {finding.rule: finding.name for finding in findings()}
    rules = [
        outcome._replace(name=names.get(outcome.rule, outcome.name)) for outcome in outcomes() if outcome.rule in kept
    ]
    found = [finding for finding in findings() if finding.rule in kept]
    review = full_review()._replace(checklist=checklist()[5:7], rules=rules, findings=found)
    return two_reviews()._replace(reviews=[review])


def hostile_report(text: str) -> Report:
    """A report in which `text` stands wherever a reviewed file, or a rule of a third party, can bring it."""
    location = Location(text, node=text, module=text, tensor=text, line=3)
    finding = Finding(
        rule="AV301", name="batch-statistics-at-inference", item=3, severity=Severity.ERROR, location=location,
        message=f"{text} is wrong, {text}", observed={text: text, "list": [text, {text: text}]}, expected={"p": text},
        remedy=f"mend {text}", why=text, also=[location, Location("m.onnx", module=text)],
    )  # fmt: skip
    answer = Answer(3, "Batch statistics", QUESTIONS[3], Verdict.FAIL, text, [{"layer": text, text: 1}], 1, 2)
    outcomes = [
        RuleOutcome("AV301", "batch-statistics-at-inference", 3, Verdict.FAIL),
        RuleOutcome("AV302", "batch-coupled-output", 3, Verdict.NOT_ASSESSED, f"needs {text}"),
        RuleOutcome("AV303", "batch-norm-in-sequence-model", 3, Verdict.NOT_APPLICABLE, text or "none"),
    ]
    facts = {
        "path": text,
        "sha256": "a" * 64,
        "bytes": 812,
        "format": "onnx",
        "producer": text,
        "details": {text: text},
    }
    review = Review({"model": facts, "recipe": facts}, Verdict.FAIL, [answer], outcomes, [finding], [text])
    return Report("0.1.0", "sha256:" + "0" * 64, [review, review], [(text, text)])
