"""Exports laid beside the checkpoints they came from: what PyTorch's exporters do to weights is seen through."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from conftest import Facts  # noqa: E402
from torch import nn  # noqa: E402

from avreview.api import review  # noqa: E402
from avreview.engine.review import Report  # noqa: E402
from avreview.facts.export_match import ExportMatch, SetMatch  # noqa: E402
from avreview.load import open_artifact  # noqa: E402


class Convolutional(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Norms behind a convolution, a depthwise one, a grouped transposed one and a matrix."""

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(16, eps=eps)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.dwbn = nn.BatchNorm2d(16, eps=eps)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2, groups=2)
        self.upbn = nn.BatchNorm2d(8, eps=eps)
        self.fc = nn.Linear(8, 32)
        self.fcbn = nn.BatchNorm1d(32, eps=eps)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Any) -> Any:
        x = self.bn(self.conv(x)).relu()
        x = self.upbn(self.up(self.dwbn(self.depthwise(x)).relu())).relu().mean((2, 3))
        return self.head(self.fcbn(self.fc(x)).relu())


class Attention(nn.Module):  # type: ignore[misc]
    """Joint projections, matrices on sequences, a table and positions."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 32)
        self.place = nn.Parameter(torch.randn(1, 6, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 7)

    def forward(self, tokens: Any) -> Any:
        return self.head(self.encoder(self.embed(tokens) + self.place))


class Recurrent(nn.Module):  # type: ignore[misc]
    """Each kind of recurrent layer, one of them in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(12, 16, 2, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(32, 8, batch_first=True)
        self.rnn = nn.RNN(8, 8, batch_first=True, bias=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.rnn(self.gru(self.lstm(x)[0])[0])[0])


class Normalized(nn.Module):  # type: ignore[misc]
    """Weight norm in its old form and as a parametrization."""

    def __init__(self) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.old = nn.utils.weight_norm(nn.Conv1d(4, 8, 3))
        self.new = nn.utils.parametrizations.weight_norm(nn.Conv1d(8, 8, 3))

    def forward(self, x: Any) -> Any:
        return self.new(self.old(x).relu())


NETWORKS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "convolutional": (Convolutional, (2, 3, 8, 8)),
    "attention": (Attention, (2, 6)),
    "recurrent": (Recurrent, (2, 5, 12)),
    "normalized": (Normalized, (2, 4, 9)),
}
FORMS = [(name, form) for name in NETWORKS for form in ("folded", "unfolded", "half")]
FORMS += [("convolutional", "dynamo"), ("normalized", "dynamo")]  # each takes seconds


def made(name: str, **options: Any) -> Any:
    """A network whose every tensor is as far from its start as training would bring it."""
    torch.manual_seed(0)
    network = NETWORKS[name][0](**options).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.01, 2)
    return network


def exported(network: Any, name: str, form: str, path: Path) -> Path:
    shape = NETWORKS[name][1]
    example = torch.randint(0, 50, shape) if name == "attention" else torch.randn(shape)
    if form == "half":
        network = network.half()
        example = example.half() if example.is_floating_point() else example
    options: dict[str, Any] = {"dynamo": False, "do_constant_folding": form != "unfolded"}
    if form == "dynamo":
        options = {"dynamo": True, "external_data": False, "verbose": False}
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (example,), path, **options)
    return path


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_an_export_agrees_with_its_checkpoint_and_no_other(name: str, form: str, tmp_path: Path, fact: Facts) -> None:
    network = made(name)
    state = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    torch.save(state, tmp_path / "same.pt")
    learned = {key for key, _ in network.named_parameters()}
    other = {key: t + 0.01 * torch.randn_like(t) * t.abs().max() if key in learned else t for key, t in state.items()}
    torch.save(other, tmp_path / "other.pt")
    model = exported(network, name, form, tmp_path / "model.onnx")

    def beside(checkpoint: str) -> SetMatch:
        match: ExportMatch = fact(model, ExportMatch, checkpoint=open_artifact(tmp_path / checkpoint))
        return match.best

    same = beside("same.pt")
    assert same.agrees, [(match.weight.name, match.how, match.comparison) for match in same.differing]
    assert not same.absent
    assert not same.unused
    different = beside("other.pt")
    names = {name for match in different.differing for name in match.names}
    assert learned <= names


def test_eps_and_set_of_an_export_made_in_earnest(tmp_path: Path) -> None:
    """A whole pickled module states its eps; beside the raw weights the file holds an average."""
    network, average = made("convolutional", eps=1e-3), made("convolutional", eps=1e-3)
    with torch.no_grad():
        for parameter in average.parameters():
            parameter.mul_(0.97)
    checkpoint = tmp_path / "last.pt"
    torch.save({"model": network, "ema": average}, checkpoint)

    def reviewed(source: Any, name: str) -> Report:
        model = exported(source, "convolutional", "folded", tmp_path / name)
        return review([model], checkpoint=checkpoint, select=["AV403", "AV404", "AV508"])

    right = reviewed(average, "average.onnx").reviews[0]
    assert not right.findings
    raw = reviewed(network, "raw.onnx").reviews[0]
    assert [finding.rule for finding in raw.findings] == ["AV404"]
    for module in average.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eps = 1e-5
    changed = reviewed(average, "changed.onnx").reviews[0]
    (finding,) = (finding for finding in changed.findings if finding.rule == "AV508")
    assert finding.observed == {"eps": 1e-5, "form": "operator, folded"}
    assert finding.expected == {"eps": 1e-3}
    assert len(finding.also) == 3
