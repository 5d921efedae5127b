"""The cases: names, FLOP and byte counts against hand-made numbers, and that every one computes what PyTorch does."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from gpunn import nn
from gpunn._device import device
from gpunn.bench import networks, ops
from gpunn.bench.case import Case, difference
from gpunn.bench.cases import DTYPES, SIZES, all_cases, by_id, select
from gpunn.bench.runner import OURS, Settings, check, prepare, reference
from gpunn.errors import UsageError

TINY = all_cases("tiny")

# GFLOP and MB of the forward pass in float32, worked out by hand from the shapes.
CONVOLUTIONS = {
    "conv01": (1.25, 7.1),
    "conv02": (0.60, 16.8),
    "conv03": (38.7, 269),
    "conv04": (60.4, 976),
    "conv05": (26.3, 1028),
    "conv06": (59.2, 411),
    "conv07": (59.2, 514),
    "conv08": (59.2, 105),
    "conv09": (59.2, 61),
    "conv10": (26.3, 258),
    "conv11a": (1.0, 462),
    "conv11b": (3.7, 411),
    "conv12": (59.2, 105),
}


def rounded(value: float, like: float) -> float:
    """To as many digits as the table gives."""
    return round(value, len(str(like).partition(".")[2]) if isinstance(like, float) else 0)


@pytest.mark.parametrize("key", CONVOLUTIONS)
def test_counts_of_convolutions_are_the_tables(key: str) -> None:
    gflop, megabytes = CONVOLUTIONS[key]
    for direction in ("forward", "dx", "dweight"):
        case = by_id(f"{key}.{direction}", "full")
        assert rounded(case.flop / 1e9, gflop) == gflop
        assert rounded(case.traffic / 1e6, megabytes) == megabytes
    on_cpu = by_id(f"{key}.forward", "cpu")
    assert on_cpu.flop == case.flop / 16, "the batch is divided by 16"
    assert by_id(f"{key}.forward", "full", "float64").traffic == 2 * case.traffic


def test_counts_of_other_ops() -> None:
    found = {case.id: (case.flop, case.traffic) for case in all_cases("full")}
    x, y = 256 * 64 * 112**2, 256 * 64 * 56**2
    assert found["stem-pool.forward"] == (0, 4 * x + 5 * y)
    big = 4 * 256 * 256 * 56**2
    assert found["bn256-relu.forward"] == (0, 3 * big)
    assert found["bn256-relu.backward"] == (0, 5 * big)  # y is not read
    assert found["bn256-add-relu.forward"] == (0, 4 * big)
    assert found["linear1024.forward"] == (2 * 128 * 1024**2, 4 * (1024**2 + 2 * 128 * 1024))
    assert found["cross-entropy1000.both"] == (0, 8 * 256 * 1000)
    assert found["sgd25m.update"] == (0, 20 * 25_600_000)
    assert found["layer-norm.forward"] == (0, 12 * 4096 * 768)
    assert found["group-norm.forward"] == (0, 12 * 256 * 64 * 56**2)
    assert found["group-norm.backward"] == (0, 20 * 256 * 64 * 56**2)
    assert found["relu.backward"] == (0, 12 * 4096 * 3072)
    assert found["copy.ceiling"] == (0, 2e9)


def test_counts_of_training_steps() -> None:
    found = {case.id: case for case in all_cases("cpu")}
    # conv1 without, the others with the gradient of the input: 2 and 3 products.
    assert found["lenet-b128.step"].flop == 2 * 128 * (2 * 392_000 + 3 * (4_900_000 + 1_225_000 + 5_000))
    assert found["mlp-b128.step"].flop == 2 * 128 * (2 * 1024**2 + 3 * (1024**2 + 10 * 1024))
    assert {k for k in found if k.startswith("lenet-b")} == {f"lenet-b{n}.step" for n in (32, 128, 512)}
    assert found["mnist-lenet.epoch"].flop == pytest.approx(
        60_000 / 128 * found["lenet-b128.step"].flop + 10_000 * 2 * 6_522_000
    )


def test_bytes_of_a_step_by_hand() -> None:
    # 16-6-5-10, batch 3: x, y of three layers; their gradients; no gradient of the first input.
    network = networks.mlp((6, 5), 4)
    weights = 16 * 6 + 6 + 6 * 5 + 5 + 5 * 10 + 10
    forward = 3 * (16 + 6 + 6 + 5 + 5 + 10) + weights
    backward = 3 * (6 + 16 + 5 + 6 + 6 + 10 + 5 + 5) + 2 * weights
    assert network.step_bytes(3) == 4 * (forward + backward + 5 * weights)


@pytest.mark.parametrize(
    "network", [networks.lenet(), networks.mlp(), networks.resnet_cifar(), networks.resnet_cifar(20, "B")]
)
def test_counted_layers_are_the_networks(network: networks.Network) -> None:
    model = network.build()
    assert network.parameters == sum(p.numel() for p in model.parameters())
    summary = nn.summarize(model, network.input_shape)
    products = sum(layer.multiply_adds for layer in summary.layers if "Norm" not in layer.kind)
    assert network.forward_flop(1) == 2 * products


@pytest.mark.parametrize("size", SIZES)
def test_every_case_has_one_name(size: str) -> None:
    cases = all_cases(size)
    assert len({case.id for case in cases}) == len(cases)
    assert all(case.traffic > 0 for case in cases)
    assert {case.group for case in cases} == {"layers", "steps", "data"}


def test_names_choose_cases() -> None:
    cases = all_cases("cpu")

    def names(*patterns: str) -> list[str]:
        return [case.id for case in select(patterns, cases)]

    assert names("conv06") == ["conv06.forward", "conv06.dx", "conv06.dweight"]
    assert names("conv06.dx", "conv06.forward") == ["conv06.forward", "conv06.dx"]
    assert len(names("conv*.forward")) == 13
    assert set(names("steps")) == {case.id for case in cases if case.group == "steps"}
    with pytest.raises(UsageError, match=r"no case is called 'conf06'.*did you mean 'conv06'"):
        names("conv06", "conf06")
    for words in (("huge", "float32"), ("cpu", "bfloat16")):
        with pytest.raises(UsageError, match=f"expected one of .*got '{words[0] if words[0] == 'huge' else words[1]}'"):
            all_cases(*words)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [case.id for case in TINY])
def test_a_case_computes_what_pytorch_does(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    case, cpu = by_id(name, "tiny", dtype), device("cpu")
    for last in (False, True):
        ours, theirs = case.prepare(cpu), case.prepare_torch(cpu, last)
        for _ in range(case.checked):
            result = ours()
            # float32: a few dozen roundings; the tolerance for real sizes is far larger.
            assert difference(result, theirs()) < (1e-5 if case.dtype == "float32" else 1e-12)
    assert any(np.asarray(a).any() for a in result), "not only zeros"
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", [case.id for case in TINY if case.reference])
def test_a_case_agrees_with_the_plain_bodies_in_float64(name: str) -> None:
    case = by_id(name, "tiny")
    settings = Settings(device("cpu"), size="tiny")
    error = check(case, {OURS: prepare(case, OURS, settings)}, "tiny")
    assert error is not None
    assert error < 1e-5
    assert reference(case, "tiny")()[0].dtype == np.float64


@pytest.mark.parametrize("name", ["conv01.forward", "conv11b.dx", "stem-pool.backward", "sgd25m.update", "mlp-b3.step"])
def test_cases_run_in_kernels(kernels: str, name: str) -> None:
    case = by_id(name, "tiny")
    assert check(case, {OURS: prepare(case, OURS, Settings(device(kernels), size="tiny"))}, "tiny") < 1e-4


def test_arrays_are_random_and_the_same_again() -> None:
    case = by_id("linear1024.forward", "cpu")
    once, again, other = case.host_arrays(), case.host_arrays(), case.host_arrays(1)
    for name, array in once.items():
        np.testing.assert_array_equal(array, again[name])
        assert (array != 0).all()
        assert (array != other[name]).any()


def test_difference_is_relative_and_nan_is_infinite() -> None:
    assert difference([np.array([1.0, 4.0])], [np.array([1.0, 5.0])]) == pytest.approx(0.2)
    assert difference([np.array([np.nan])], [np.array([1.0])]) == np.inf
    assert difference([np.array([1.0, 4.0, 9.0])], [np.array([1.0, 5.0, 5.0])]) == pytest.approx(0.8)
    with pytest.raises(ValueError, match=r"shape \(2,\) where the other side has \(1,\)"):
        difference([np.zeros(2)], [np.zeros(1)])


@pytest.mark.parametrize("key", ["bn64-relu", "bn64-add-relu"])
def test_no_gradient_where_roundings_decide_about_a_relu(key: str) -> None:
    backward = ops.batch_norm(key, 8, 5, 40, "add" in key)[1]
    arrays = {name: array.astype(np.float64) for name, array in backward.host_arrays().items()}
    x = arrays["x"]
    z = (x - x.mean(axis=(0, 1, 2))) / np.sqrt(x.var(axis=(0, 1, 2)) + 1e-5) * arrays["weight"] + arrays["bias"]
    z += arrays.get("residual", 0)
    silent = arrays["dy"] == 0
    assert silent.any()
    assert np.abs(z[silent]).max() < 1.01e-4
    assert np.abs(z[~silent]).min() > 0.99e-4


def test_preparing_leaves_the_default_generator_alone() -> None:
    import gpunn

    gpunn.manual_seed(3)
    expected = gpunn.randn(4).numpy()
    gpunn.manual_seed(3)
    by_id("mlp-b3.step", "tiny").prepare(device("cpu"))()
    np.testing.assert_array_equal(gpunn.randn(4).numpy(), expected)


def test_neither_bench_nor_the_command_imports_pytorch() -> None:
    program = (
        "import sys, gpunn.bench.cases, gpunn.bench.runner, gpunn.bench.profile, gpunn.cli.main;"
        "gpunn.bench.cases.all_cases('tiny'); print('torch' in sys.modules or 'cupy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_case_ids_join_key_and_direction() -> None:
    case: Case = by_id("conv06.dx", "full")
    assert (case.key, case.direction, case.name) == ("conv06", "dx", "conv b256 64→64 3×3 56²")
    assert case.intensity == case.flop / case.traffic
