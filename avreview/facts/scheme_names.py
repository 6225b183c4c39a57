"""The named initialization schemes, and the scale each gives a weight of known fans.

Gains: He et al. 2015 (ReLU √2, leaky ReLU √(2/(1+a²))), Glorot and Bengio 2010 (linear 1), LeCun et al. 1998 and
Klambauer et al. 2017 (fan_in, gain 1), `torch.nn.init.calculate_gain` (tanh 5/3, SELU 3/4).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

from avreview.facts.scheme_shapes import TRUNCATION_STD

_ROOT3 = math.sqrt(3.0)

GAINS = {
    "linear": 1.0,
    "relu": math.sqrt(2.0),
    "leaky_relu(0.01)": math.sqrt(2.0 / 1.0001),
    "leaky_relu(0.1)": math.sqrt(2.0 / 1.01),
    "leaky_relu(0.2)": math.sqrt(2.0 / 1.04),
    "tanh": 5.0 / 3.0,
    "selu": 0.75,
}
_FIXED = (  # name, shape, parameter, the framework whose default it is
    ("normal", "normal", 1.0, "PyTorch Embedding"),
    ("normal", "normal", 0.1, None),
    ("normal", "normal", 0.05, None),
    ("normal", "normal", 0.02, None),  # GPT, BERT, ViT: PyTorch's trunc_normal_(std=.02) cuts at ±2, not ±2 std
    ("normal", "normal", 0.01, None),
    ("normal", "normal", 0.005, None),
    ("normal", "normal", 0.001, None),
    ("truncated_normal", "truncated-normal", 1.0, None),
    ("truncated_normal", "truncated-normal", 0.1, None),
    ("truncated_normal", "truncated-normal", 0.05, None),
    ("truncated_normal", "truncated-normal", 0.02, None),
    ("truncated_normal", "truncated-normal", 0.01, None),
    ("uniform", "uniform", 1.0, None),
    ("uniform", "uniform", 0.1, None),
    ("uniform", "uniform", 0.08, None),
    ("uniform", "uniform", 0.07, "MXNet"),
    ("uniform", "uniform", 0.05, "Keras Embedding"),
    ("uniform", "uniform", 0.01, None),
    ("uniform", "uniform", 0.003, None),
    ("orthogonal", "orthogonal", 1.0, None),
    ("orthogonal", "orthogonal", math.sqrt(2.0), None),
    ("orthogonal", "orthogonal", 5.0 / 3.0, None),
    ("orthogonal", "orthogonal", 0.1, None),
    ("orthogonal", "orthogonal", 0.01, None),
)


class Fans(NamedTuple):
    """What a weight's scale can be derived from.

    `fan_in` is what one output sums over and `fan_out` how many outputs one input reaches, both within its group.
    `hidden` is the state size of a recurrent layer, from which PyTorch takes the bound of all its weights, and
    `transposed` tells a ConvTranspose, whose default in PyTorch mistakes fan_out for fan_in.
    """

    fan_in: int
    fan_out: int
    groups: int = 1
    hidden: int | None = None
    transposed: bool = False

    @property
    def torch_mode(self) -> str | None:
        """The mode in which PyTorch initializes such a layer, unless it is recurrent."""
        return None if self.hidden else "fan_out" if self.transposed else "fan_in"

    def modes(self) -> dict[str, float]:
        """Every divisor that some framework takes for a fan; `ungrouped` ones forget or add the group count."""
        modes = {"fan_in": float(self.fan_in), "fan_out": float(self.fan_out)}
        if self.groups > 1:
            modes["fan_in_ungrouped"] = float(self.fan_in * self.groups)
            modes["fan_out_ungrouped"] = float(self.fan_out * self.groups)
        return modes


class Scheme(NamedTuple):
    """A named scheme at given fans.

    `scale` is the bound of a uniform scheme, the gain of an orthogonal one, and otherwise the standard deviation
    after any truncation. `mode` is `fan_in`, `fan_out`, `fan_avg`, an `_ungrouped` one, `hidden` or `fixed`.
    """

    name: str
    shape: str
    activation: str | None
    gain: float | None
    mode: str
    scale: float
    default_of: str | None = None

    @property
    def label(self) -> str:
        """As one would say it: `kaiming_normal(relu, fan_out)`, `normal(0.02)`."""
        if self.mode == "fixed":
            return f"{self.name}({self.gain:.4g})"
        details = ", ".join(part for part in (self.activation, self.mode) if part)
        return f"{self.name}({details})"


@functools.lru_cache(maxsize=1024)
def schemes(fans: Fans) -> tuple[Scheme, ...]:
    """Every named scheme for these fans, framework defaults first."""
    found = [*_fan_scaled(fans), *_glorot(fans), *_others(fans), *_fixed()]
    return tuple(sorted(found, key=lambda scheme: scheme.default_of is None))


def _fan_scaled(fans: Fans) -> Iterator[Scheme]:
    for mode, fan in fans.modes().items():
        if fan < 1:
            continue
        default = "PyTorch" if mode == fans.torch_mode else None  # a = √5 gives gain 1/√3 and the bound 1/√fan
        yield Scheme("kaiming_uniform", "uniform", "a=sqrt(5)", 1 / _ROOT3, mode, 1 / math.sqrt(fan), default)
        for activation, gain in GAINS.items():
            std = gain / math.sqrt(fan)
            lecun = activation == "linear"
            flax = "Flax" if lecun and mode == "fan_in" else None
            name = "lecun" if lecun else "kaiming"
            yield Scheme(f"{name}_uniform", "uniform", activation, gain, mode, _ROOT3 * std)
            yield Scheme(f"{name}_normal", "normal", activation, gain, mode, std)
            yield Scheme(f"{name}_normal", "truncated-normal", activation, gain, mode, std, flax)
            if activation in ("linear", "relu"):  # cut without making good for the lost variance
                lost = std * TRUNCATION_STD
                haiku = "Haiku" if flax else None
                yield Scheme("truncated_normal", "truncated-normal", activation, gain, mode, lost, haiku)


def _glorot(fans: Fans) -> Iterator[Scheme]:
    averages = {"fan_avg": (fans.fan_in + fans.fan_out) / 2.0}
    if fans.groups > 1:
        averages["fan_avg_ungrouped"] = (fans.fan_in + fans.fan_out * fans.groups) / 2.0  # PyTorch's count
    for mode, fan in averages.items():
        if fan <= 0:
            continue
        for activation in ("linear", "relu", "tanh"):
            gain = GAINS[activation]
            std = gain / math.sqrt(fan)
            keras = "Keras" if activation == "linear" else None
            yield Scheme("xavier_uniform", "uniform", activation, gain, mode, _ROOT3 * std, keras)
            yield Scheme("xavier_normal", "normal", activation, gain, mode, std)
            yield Scheme("xavier_normal", "truncated-normal", activation, gain, mode, std)


def _others(fans: Fans) -> Iterator[Scheme]:
    if fans.hidden:
        bound = 1 / math.sqrt(fans.hidden)
        yield Scheme("rnn_uniform", "uniform", None, None, "hidden", bound, "PyTorch RNN")
    yield Scheme("siren", "uniform", "sine", None, "fan_in", math.sqrt(6.0 / fans.fan_in) / 30.0)


def _fixed() -> Iterator[Scheme]:
    for name, shape, value, default in _FIXED:
        scale = value * TRUNCATION_STD if shape == "truncated-normal" else value
        yield Scheme(name, shape, None, value, "fixed", scale, default)
