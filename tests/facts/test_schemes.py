from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from avreview.facts.scheme_names import Fans, schemes
from avreview.facts.scheme_sample import WeightSample
from avreview.facts.schemes import Companion, Match, SchemeLimits, companion_of, plausible, recognise
from avreview.facts.statistics import measure_array

torch: Any = pytest.importorskip("torch")
init = torch.nn.init
Array = np.ndarray[Any, Any]

LIMITS = SchemeLimits(
    ks_sqrt_n=1.95,
    moment_z=4.5,
    shape_z=6.0,
    energy_z=6.0,
    uniform_min_elements=64,
    uniform_any_min_elements=1024,
    normal_min_elements=4096,
    normal_note_min_elements=256,
    uniform_max_shortfall=14.0,
    uniform_max_excess=2e-6,
    orthogonal_tolerance=1e-4,
)
ZERO_BIAS = Companion("zero-bias", "layer.bias")
SHAPES = [(64, 64, 3, 3), (128, 64, 1, 1), (64, 3, 7, 7), (10, 512), (512, 10), (256, 256), (1024, 256), (3, 2000)]


def fans_of(weight: Any) -> Fans:
    window = math.prod(weight.shape[2:])
    return Fans(weight.shape[1] * window, weight.shape[0] * window)


def look(weight: Any, companion: Companion | None = ZERO_BIAS, fans: Fans | None = None) -> Match | None:
    array = weight.detach().float().numpy() if hasattr(weight, "detach") else weight
    sample = WeightSample(array.reshape(array.shape[0], -1))
    return recognise(sample, fans=fans or fans_of(array), limits=LIMITS, companion=companion)


def truncated(weight: Any, std: float) -> None:
    init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def lecun_normal(weight: Any) -> None:
    truncated(weight, math.sqrt(1 / fans_of(weight).fan_in) / 0.87962566)


SCHEMES: dict[str, tuple[Callable[[Any], object], str, str]] = {
    "torch": (lambda w: init.kaiming_uniform_(w, a=5**0.5), "uniform", "kaiming_uniform(a=sqrt(5), fan_in)"),
    "kaiming uniform": (
        lambda w: init.kaiming_uniform_(w, mode="fan_out", nonlinearity="relu"), "uniform",
        "kaiming_uniform(relu, fan_out)",
    ),
    "glorot uniform": (init.xavier_uniform_, "uniform", "xavier_uniform(linear, fan_avg)"),
    "xavier tanh": (lambda w: init.xavier_uniform_(w, 5 / 3), "uniform", "xavier_uniform(tanh, fan_avg)"),
    "mxnet": (lambda w: init.uniform_(w, -0.07, 0.07), "uniform", "uniform(0.07)"),
    "kaiming normal": (
        lambda w: init.kaiming_normal_(w, nonlinearity="relu"), "normal", "kaiming_normal(relu, fan_in)"
    ),
    "resnet": (
        lambda w: init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"), "normal",
        "kaiming_normal(relu, fan_out)",
    ),
    "xavier normal": (init.xavier_normal_, "normal", "xavier_normal(linear, fan_avg)"),
    "gpt": (lambda w: init.normal_(w, std=0.02), "normal", "normal(0.02)"),
    "vit": (lambda w: init.trunc_normal_(w, std=0.02), "normal", "normal(0.02)"),
    "detection head": (lambda w: init.normal_(w, std=0.001), "normal", "normal(0.001)"),
    "flax": (lecun_normal, "truncated-normal", "lecun_normal(linear, fan_in)"),
    "tf bert": (lambda w: truncated(w, 0.02), "truncated-normal", "truncated_normal(0.02)"),
    "orthogonal": (init.orthogonal_, "orthogonal", "orthogonal(1)"),
    "orthogonal relu": (lambda w: init.orthogonal_(w, 2**0.5), "orthogonal", "orthogonal(1.414)"),
}  # fmt: skip


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", SCHEMES)
def test_a_fresh_weight_is_recognised(name: str, precision: str) -> None:
    fill, distribution, label = SCHEMES[name]
    torch.manual_seed(7)
    for shape in SHAPES:
        if distribution == "orthogonal" and min(shape[0], math.prod(shape[1:])) < 4:
            continue
        weight = torch.empty(shape)
        fill(weight)
        match = look(weight.to(getattr(torch, precision)))
        assert match is not None, shape
        assert (match.distribution, match.strength, match.scale_free) == (distribution, "untouched", False), shape
        assert label in [scheme.label for scheme in match.schemes], shape


def test_nearly_every_fresh_draw_is_found() -> None:
    """Each weight passes some ten tests; together they may lose 2 % (measured: 0.4 %)."""
    rng = np.random.default_rng(1)
    found = total = 0
    for _ in range(150):
        units, inputs = rng.integers(8, 200, 2)
        bound = 1 / math.sqrt(inputs)
        weight = rng.uniform(-bound, bound, (units, inputs)).astype(np.float32)
        found += look(weight, None) is not None
        total += 1
        weight = rng.normal(0, math.sqrt(2 / inputs), (max(units, 4096 // inputs + 1), inputs)).astype(np.float32)
        match = look(weight)
        found += match is not None and match.strength == "untouched"
        total += 1
    assert found >= 0.98 * total


def test_layers_of_torch_are_at_its_default() -> None:
    torch.manual_seed(0)
    conv, linear = torch.nn.Conv2d(32, 64, 3, groups=4), torch.nn.Linear(100, 30)
    deconv, lstm = torch.nn.ConvTranspose2d(32, 64, 4), torch.nn.LSTM(24, 48)
    checks = [
        (conv.weight, Fans(72, 16 * 9, groups=4), "PyTorch"),
        (linear.weight, Fans(100, 30), "PyTorch"),
        (deconv.weight.transpose(0, 1), Fans(32 * 16, 64 * 16, transposed=True), "PyTorch"),
        *[(gate, Fans(24, 48, hidden=48), "PyTorch RNN") for gate in lstm.weight_ih_l0.chunk(4)],
        *[(gate, Fans(48, 48, hidden=48), "PyTorch RNN") for gate in lstm.weight_hh_l0.chunk(4)],
    ]
    for weight, fans, framework in checks:
        match = look(weight, None, fans)
        assert match is not None
        assert (match.distribution, match.strength) == ("uniform", "untouched")
        assert framework in match.default_of


def test_keras_and_flax_defaults_are_named_as_such() -> None:
    weight = torch.empty(300, 200)
    init.xavier_uniform_(weight)
    match = look(weight)
    assert match is not None
    assert match.default_of == ("Keras",)
    lecun_normal(weight)
    match = look(weight)
    assert match is not None
    assert match.default_of == ("Flax",)


def test_a_scale_between_the_named_ones_is_scale_free() -> None:
    rng = np.random.default_rng(2)
    for draw in (rng.normal(0, 0.0437, (128, 100)), rng.uniform(-0.0437, 0.0437, (128, 100))):
        match = look(draw.astype(np.float32))
        assert match is not None
        assert (match.scale_free, match.schemes, match.strength) == (True, (), "untouched")
        alone = look(draw.astype(np.float32), None)
        assert alone is not None
        assert alone.strength == "note"


@pytest.mark.parametrize("factor", [1e-3, 0.37, 25.0])
@pytest.mark.parametrize("name", ["torch", "resnet", "flax", "orthogonal"])
def test_a_factor_changes_the_scale_and_nothing_else(name: str, factor: float) -> None:
    torch.manual_seed(3)
    weight = torch.empty(96, 128)
    SCHEMES[name][0](weight)
    match, scaled = look(weight), look(weight * factor)
    assert match is not None
    assert scaled is not None
    assert scaled.distribution == match.distribution
    assert scaled.scale == pytest.approx(match.scale * factor, rel=1e-5)
    assert scaled.gain == pytest.approx(match.gain * factor, rel=1e-5)


@pytest.mark.parametrize("name", SCHEMES)
def test_the_order_of_units_and_inputs_does_not_matter(name: str) -> None:
    torch.manual_seed(4)
    weight = torch.empty(96, 128)
    SCHEMES[name][0](weight)
    match = look(weight)
    shuffled = look(weight[torch.randperm(96)][:, torch.randperm(128)])
    assert match is not None
    assert shuffled is not None
    assert (shuffled.distribution, shuffled.schemes) == (match.distribution, match.schemes)


def test_gain_is_the_deviation_times_the_root_of_fan_in() -> None:
    weight = torch.empty(400, 300)
    init.kaiming_normal_(weight, nonlinearity="relu")
    match = look(weight)
    assert match is not None
    assert match.gain == pytest.approx(math.sqrt(2), rel=0.02)


def test_a_normal_weight_needs_size_and_a_companion() -> None:
    rng = np.random.default_rng(5)
    large, small, tiny = (rng.normal(0, 0.02, (units, 64)).astype(np.float32) for units in (64, 32, 3))
    strengths = [(m := look(weight, companion)) and m.strength
                 for weight in (large, small, tiny) for companion in (ZERO_BIAS, None)]  # fmt: skip
    assert strengths == ["untouched", "note", "note", None, None, None]


def test_a_small_uniform_weight_is_believed_only_at_its_layers_default() -> None:
    rng = np.random.default_rng(6)
    default = rng.uniform(-1 / 3, 1 / 3, (8, 9)).astype(np.float32)
    match = look(default, None)
    assert match is not None
    assert match.strength == "untouched"
    assert look(default * 3, None) is None
    relu = rng.uniform(-1, 1, (8, 9)).astype(np.float32) * math.sqrt(6 / 9)
    match = look(relu, ZERO_BIAS)
    assert match is not None
    assert "kaiming_uniform(relu, fan_in)" in [scheme.label for scheme in match.schemes]
    assert look(relu, None) is None
    assert look(default[:7], None) is None  # 63 elements


def test_uniform_weights_beyond_their_bound_do_not_match_it() -> None:
    weight = np.random.default_rng(7).uniform(-0.1, 0.1, (64, 100)).astype(np.float32)
    weight[3, 5] = 0.1002
    match = look(weight, None)
    assert match is None or match.scale_free


@pytest.fixture(scope="session")
def trained() -> list[tuple[str, Any, Any]]:
    """(name, weight, how far it moved) of small networks after a few hundred steps."""
    torch.manual_seed(11)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    nets = {
        "mlp": torch.nn.Sequential(*_mlp((20, 128, 64, 4))),
        "mlp kaiming": torch.nn.Sequential(*_mlp((20, 96, 96, 4), init.kaiming_normal_)),
        "mlp orthogonal": torch.nn.Sequential(*_mlp((20, 80, 80, 4), init.orthogonal_)),
        "cnn": torch.nn.Sequential(
            torch.nn.Unflatten(1, (1, 4, 5)), torch.nn.Conv2d(1, 32, 3, padding=1), torch.nn.ReLU(),
            torch.nn.Conv2d(32, 48, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(960, 4),
        ),
    }  # fmt: skip
    moved = []
    for name, net in nets.items():
        start = {key: value.clone() for key, value in net.state_dict().items()}
        _fit(net)
        moved += [
            (f"{name} {key}", value, float((value - start[key]).std() / start[key].std()))
            for key, value in net.state_dict().items() if value.dim() > 1
        ]  # fmt: skip
    torch.set_num_threads(threads)
    return moved


def _mlp(sizes: tuple[int, ...], fill: Callable[[Any], object] | None = None) -> list[Any]:
    layers: list[Any] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
        if fill is not None:
            fill(layers[-2].weight)
    return layers[:-1]


def _fit(net: Any, steps: int = 300) -> None:
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(steps):
        inputs = torch.randn(64, 20)
        labels = (inputs[:, :2] > 0).long() @ torch.tensor([1, 2])
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(inputs), labels).backward()
        optimizer.step()


def test_no_trained_weight_is_called_untouched(trained: list[tuple[str, Any, Any]]) -> None:
    assert all(distance > 0.05 for _, _, distance in trained)
    wrong = [name for name, weight, _ in trained if (m := look(weight, ZERO_BIAS)) and m.strength == "untouched"]
    assert len(trained) == 12
    assert wrong == []


def test_what_moved_by_a_tenth_in_one_direction_is_told_by_its_energies() -> None:
    rng = np.random.default_rng(8)
    fresh = rng.normal(0, 0.1, (128, 128))
    push = np.outer(rng.standard_normal(128), rng.standard_normal(128) * (rng.random(128) < 0.05)) * 0.1
    assert look(fresh.astype(np.float32)) is not None
    assert look((fresh + push).astype(np.float32)) is None


def test_a_disturbed_orthogonal_weight_does_not_pass_for_a_normal_one() -> None:
    weight = torch.empty(128, 128)
    init.orthogonal_(weight)
    disturbed = weight + 0.002 * torch.randn(128, 128)
    assert look(weight) is not None
    assert look(disturbed) is None


def cosines(size: int) -> Array:
    steps = np.arange(size)
    basis = np.cos(np.pi * (steps[None, :] + 0.5) * steps[:, None] / size) * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return basis


def hadamard(size: int) -> Array:
    matrix = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix / math.sqrt(size)


STRUCTURED = {
    "dct": cosines(128),
    "dft": np.concatenate([np.fft.fft(np.eye(128)).real, np.fft.fft(np.eye(128)).imag]),
    "hadamard": hadamard(128),
    "blur": np.tile(np.outer([1, 2, 1], [1, 2, 1]).reshape(1, 9) / 16, (512, 1)),
    "ramp": np.linspace(-1, 1, 8192).reshape(64, 128),
    "positions": np.stack([np.sin(np.arange(128) / 10000 ** (i / 64)) for i in range(64)]),
    "copied rows": np.tile(np.random.default_rng(0).normal(0, 0.1, (1, 256)), (64, 1)),
    "sparse": np.random.default_rng(0).normal(0, 0.1, (128, 128)) * (np.random.default_rng(1).random((128, 128)) < 0.1),
    "dequantized": np.round(np.random.default_rng(0).normal(0, 30, (128, 128))) * 0.003,
    "row scaled": np.random.default_rng(0).normal(0, 1, (128, 128)) * np.linspace(0.5, 2, 128)[:, None],
}


@pytest.mark.parametrize("name", STRUCTURED)
def test_structure_is_no_initialization(name: str) -> None:
    assert look(STRUCTURED[name].astype(np.float32)) is None


@pytest.mark.parametrize(
    ("weight", "distribution"),
    [
        (np.zeros((64, 64)), "zeros"),
        (np.ones((64, 64)), "ones"),
        (np.full((64, 9), 1 / 9), "constant"),
        (np.eye(64), "identity"),
        (np.eye(64)[np.random.default_rng(0).permutation(64)] * 0.5, "identity"),
    ],
)
def test_constants_and_identities_are_named_but_only_noted(weight: Array, distribution: str) -> None:
    match = look(weight.astype(np.float32))
    assert match is not None
    assert (match.distribution, match.strength, match.schemes) == (distribution, "note", ())


def test_half_precision_is_read_as_it_is_stored() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    rng = np.random.default_rng(16)
    for dtype, rounding in ((np.float16, 2.0**-11), (ml_dtypes.bfloat16, 2.0**-8), (np.float32, 2.0**-24)):
        rows = rng.uniform(-0.1, 0.1, (64, 100)).astype(dtype)
        sample = WeightSample(rows)
        match = recognise(sample, fans=Fans(100, 64), limits=LIMITS)
        assert match is not None
        assert "kaiming_uniform(a=sqrt(5), fan_in)" in [scheme.label for scheme in match.schemes]
        assert sample.rounding == rounding


def test_what_is_no_real_weight_is_refused() -> None:
    rng = np.random.default_rng(9)
    quantized = rng.integers(-127, 128, (64, 100)).astype(np.int8)
    assert recognise(WeightSample(quantized), fans=Fans(100, 64), limits=LIMITS, companion=ZERO_BIAS) is None
    broken = rng.uniform(-0.1, 0.1, (64, 100)).astype(np.float32)
    broken[0, 0] = np.nan
    assert look(broken) is None
    with pytest.raises(ValueError, match="units, inputs"):
        WeightSample(np.zeros(9, np.float32))


def test_the_statistics_alone_exclude_most_trained_weights() -> None:
    rng = np.random.default_rng(10)
    heavy = measure_array(rng.standard_t(5, 20_000))
    shifted = measure_array(rng.normal(0.1, 1, 20_000))
    normal = measure_array(rng.normal(0, 1, 20_000))
    assert plausible(heavy, LIMITS) == []
    assert plausible(shifted, LIMITS) == []
    assert [shape.name for shape in plausible(normal, LIMITS)] == ["normal"]


class Unreadable:
    """Stands for rows on a disk: any look at their elements fails."""

    ndim, shape, dtype = 2, (100, 200), np.dtype(np.float32)

    def __getitem__(self, _: Any) -> Any:
        raise AssertionError("rows were read")

    __array__ = __getitem__


def test_rows_are_not_read_when_the_statistics_decide() -> None:
    statistics = measure_array(np.random.default_rng(11).standard_t(5, 20_000))
    sample = WeightSample(Unreadable(), statistics)  # type: ignore[arg-type]
    assert recognise(sample, fans=Fans(200, 100), limits=LIMITS) is None


def test_a_large_weight_is_judged_from_whole_rows() -> None:
    weight = np.random.default_rng(12).normal(0, 0.02, (3000, 1024)).astype(np.float32)
    sample = WeightSample(weight)
    match = recognise(sample, fans=Fans(1024, 3000), limits=LIMITS, companion=ZERO_BIAS)
    assert sample.block.shape == (1024, 1024)
    assert sample.ordered.size == 1 << 14
    assert match is not None
    assert match.strength == "untouched"


def test_companions() -> None:
    rng = np.random.default_rng(13)
    zero, one = ("bias", measure_array(np.zeros(8))), ("norm.weight", measure_array(np.ones(8)))
    uniform = ("bias", measure_array(rng.uniform(-0.1, 0.1, 128).astype(np.float32)))
    trained = ("bias", measure_array(rng.normal(0.02, 0.05, 128).astype(np.float32)))
    cases: list[tuple[dict[str, Any], str | None]] = [
        ({"bias": zero}, "zero-bias"),
        ({"bias": trained, "norm_scale": one, "norm_shift": zero}, "identity-norm"),
        ({"norm_scale": one}, "identity-norm"),
        ({"norm_scale": one, "norm_shift": trained}, None),
        ({"bias": one, "norm_scale": zero}, None),
        ({"bias": uniform, "bias_fan": 100}, "uniform-bias"),
        ({"bias": uniform, "bias_fan": 400}, None),
        ({"bias": uniform}, None),
        ({"bias": trained, "bias_fan": 100}, None),
        ({}, None),
    ]
    for arguments, kind in cases:
        found = companion_of(limits=LIMITS, **arguments)
        assert (found and found.kind) == kind, arguments


def test_limits_come_from_anything_that_has_them() -> None:
    assert SchemeLimits.of(LIMITS) == LIMITS
    with pytest.raises(AttributeError):
        SchemeLimits.of(object())


def test_fans_of_grouped_layers_are_told_apart() -> None:
    weight = np.random.default_rng(14).normal(0, math.sqrt(2 / (64 * 9)), (64, 64, 3, 3)).astype(np.float32)
    match = look(weight[:, :16], ZERO_BIAS, Fans(16 * 9, 16 * 9, groups=4))
    assert match is not None
    assert {scheme.mode for scheme in match.schemes if scheme.activation == "relu"} >= {"fan_out_ungrouped"}
    assert all("ungrouped" not in scheme.mode for scheme in schemes(Fans(144, 144)))
