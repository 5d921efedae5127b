"""Autocast: the dtypes ops compute in, PyTorch's on a CPU and its lists on a GPU; parameters' copies; captures."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn._autocast import casting
from gpunn.errors import ArgumentError, GpunnError, UsageError

pytest.importorskip("ml_dtypes")

# A case gets the library, its functional, and a function that makes numbers of a shape.
Case = Callable[[Any, Any, Callable[..., Any]], Any]
CASES: dict[str, Case] = {}


def _words(text: str) -> list[str]:
    return text.split()


def case(name: str, body: Case) -> None:
    CASES[name] = body


def of_functional(name: str, *shapes: tuple[int, ...]) -> None:
    case(name, lambda L, F, r: getattr(F, name)(*(r(*shape) for shape in shapes)))


def of_library(name: str) -> None:
    case(name, lambda L, F, r: getattr(L, name)(r(4, 5)))


def of_tensor(name: str, *args: int) -> None:
    case("_".join([name, *map(str, args)]), lambda L, F, r: getattr(r(4, 5), name)(*args))


def of_pooling(name: str, axes: int) -> None:
    case(name, lambda L, F, r: getattr(F, name)(r(1, 2, *(4,) * axes), 2))


case("linear", lambda L, F, r: F.linear(r(4, 5), r(3, 5), r(3)))
case("linear_3d", lambda L, F, r: F.linear(r(2, 4, 5), r(3, 5)))
case("conv1d", lambda L, F, r: F.conv1d(r(1, 2, 6), r(2, 2, 3), r(2)))
case("conv2d", lambda L, F, r: F.conv2d(r(1, 2, 6, 6), r(2, 2, 3, 3), r(2)))
case("conv3d", lambda L, F, r: F.conv3d(r(1, 2, 4, 4, 4), r(2, 2, 3, 3, 3), r(2)))
case("conv_transpose1d", lambda L, F, r: F.conv_transpose1d(r(1, 2, 6), r(2, 2, 3)))
case("conv_transpose2d", lambda L, F, r: F.conv_transpose2d(r(1, 2, 6, 6), r(2, 2, 3, 3), r(2)))
case("conv_transpose3d", lambda L, F, r: F.conv_transpose3d(r(1, 2, 4, 4, 4), r(2, 2, 3, 3, 3)))
case("prelu", lambda L, F, r: F.prelu(r(4, 5), r(5)))
case("matmul", lambda L, F, r: r(4, 5) @ r(5, 3))
case("matmul_4d", lambda L, F, r: L.matmul(r(2, 3, 4, 5), r(5, 3)))
case("mm", lambda L, F, r: L.mm(r(4, 5), r(5, 3)))
case("bmm", lambda L, F, r: L.bmm(r(2, 3, 4), r(2, 4, 3)))
case("addmm", lambda L, F, r: L.addmm(r(4, 3), r(4, 5), r(5, 3)))
case("baddbmm", lambda L, F, r: L.baddbmm(r(2, 3, 3), r(2, 3, 4), r(2, 4, 3)))
case("addbmm", lambda L, F, r: L.addbmm(r(3, 3), r(2, 3, 4), r(2, 4, 3)))
case("einsum", lambda L, F, r: L.einsum("ij,jk->ik", r(4, 5), r(5, 3)))
case("einsum_sum", lambda L, F, r: L.einsum("ij->i", r(4, 5)))
case("tensordot", lambda L, F, r: L.tensordot(r(4, 5), r(5, 3), 1))
case("inner", lambda L, F, r: L.inner(r(4, 5), r(4, 5)))
case("outer", lambda L, F, r: L.outer(r(3), r(4)))
case("kron", lambda L, F, r: L.kron(r(2, 3), r(2, 2)))
case("matrix_power", lambda L, F, r: L.matrix_power(r(3, 3), 2))
case("attention", lambda L, F, r: F.scaled_dot_product_attention(r(1, 2, 4, 8) * 16, r(1, 2, 4, 8), r(1, 2, 4, 8)))
for _name in ("avg_pool", "max_pool", "adaptive_avg_pool", "adaptive_max_pool"):
    for _axes in (1, 2, 3):
        of_pooling(f"{_name}{_axes}d", _axes)
for _name in _words(
    "binary_cross_entropy binary_cross_entropy_with_logits mse_loss l1_loss smooth_l1_loss huber_loss "
    "poisson_nll_loss cosine_similarity pairwise_distance"
):
    of_functional(_name, (4, 5), (4, 5))
case("kl_div", lambda L, F, r: F.kl_div(r(4, 5), r(4, 5), reduction="sum"))
case("nll_loss", lambda L, F, r: F.nll_loss(r(4, 5), L.tensor([0, 1, 2, 3])))
case("cross_entropy", lambda L, F, r: F.cross_entropy(r(4, 5), L.tensor([0, 1, 2, 3])))
case("cross_entropy_of_probabilities", lambda L, F, r: F.cross_entropy(r(4, 5), r(4, 5)))
case("cosine_embedding_loss", lambda L, F, r: F.cosine_embedding_loss(r(4, 5), r(4, 5), L.ones(4)))
case("hinge_embedding_loss", lambda L, F, r: F.hinge_embedding_loss(r(4, 5), L.ones(4, 5)))
case("margin_ranking_loss", lambda L, F, r: F.margin_ranking_loss(r(4), r(4), L.ones(4)))
case("soft_margin_loss", lambda L, F, r: F.soft_margin_loss(r(4, 5), L.ones(4, 5)))
case("triplet_margin_loss", lambda L, F, r: F.triplet_margin_loss(r(4, 5), r(4, 5) * 2, r(4, 5)))
case("multi_margin_loss", lambda L, F, r: F.multi_margin_loss(r(4, 5), L.tensor([0, 1, 2, 3])))
case("gaussian_nll_loss", lambda L, F, r: F.gaussian_nll_loss(r(4, 5), r(4, 5), r(4, 5)))
case("softmax", lambda L, F, r: F.softmax(r(4, 5), 1))
case("softmax_dtype", lambda L, F, r: F.softmax(r(4, 5), 1, dtype=L.float32))
case("log_softmax", lambda L, F, r: F.log_softmax(r(4, 5), 1))
case("layer_norm", lambda L, F, r: F.layer_norm(r(4, 5), (5,), r(5), r(5)))
case("rms_norm", lambda L, F, r: F.rms_norm(r(4, 5), (5,), r(5)))
case("group_norm", lambda L, F, r: F.group_norm(r(2, 4, 3, 3), 2, r(4), r(4)))
case("batch_norm", lambda L, F, r: F.batch_norm(r(2, 4, 3, 3), None, None, training=True))
case("instance_norm", lambda L, F, r: F.instance_norm(r(2, 4, 3, 3)))
case("normalize", lambda L, F, r: F.normalize(r(4, 5)))
case("local_response_norm", lambda L, F, r: F.local_response_norm(r(1, 4, 3, 3), 2))
case("dist", lambda L, F, r: L.dist(r(4, 5), r(4, 5) * 2))
case("cdist", lambda L, F, r: L.cdist(r(4, 5), r(3, 5)))
case("interpolate", lambda L, F, r: F.interpolate(r(1, 2, 4, 4), scale_factor=2))
case("interpolate_bilinear", lambda L, F, r: F.interpolate(r(1, 2, 4, 4), scale_factor=2, mode="bilinear"))
case("grid_sample", lambda L, F, r: F.grid_sample(r(1, 2, 4, 4), r(1, 3, 3, 2), align_corners=False))
case("pow", lambda L, F, r: r(4, 5) ** 2.5)
case("square", lambda L, F, r: r(4, 5) ** 2)
case("power_of_a_number", lambda L, F, r: 2 ** r(4, 5))
case("reciprocal_of_a_number", lambda L, F, r: 2 / r(4, 5))
for _name in _words("sum mean norm var std prod"):
    of_tensor(_name)
for _name in _words("sum mean prod cumsum cumprod logsumexp"):
    of_tensor(_name, 1)
case("sum_dtype", lambda L, F, r: r(4, 5).sum(1, dtype=L.float64))
case("quantile", lambda L, F, r: L.quantile(r(4, 5), 0.5))
case("trace", lambda L, F, r: L.trace(r(4, 4)))
case("cat", lambda L, F, r: L.cat([r(4, 5), L.ones(4, 5)]))
case("stack", lambda L, F, r: L.stack([r(4, 5), L.ones(4, 5)]))
case("addcmul", lambda L, F, r: L.addcmul(r(4, 5), L.ones(4, 5), r(4, 5)))
case("atan2", lambda L, F, r: L.atan2(r(4, 5), L.ones(4, 5)))
case("add", lambda L, F, r: r(4, 5) + r(4, 5))
case("float64_stays", lambda L, F, r: F.linear(r(4, 5).double(), r(3, 5).double()))
case("pad", lambda L, F, r: F.pad(r(1, 2, 4, 4), (1, 1, 1, 1)))
for _name in _words(
    "acos asin atan cosh sinh tan tanh erfinv erf exp exp2 expm1 log log10 log2 log1p reciprocal rsqrt sqrt sigmoid sin"
):
    of_library(_name)
for _name in _words("softplus gelu silu relu elu hardtanh"):
    of_functional(_name, (4, 5))


def _result(library: Any, name: str, given: str, dtype: str) -> Any:
    """Of float32 numbers, or of 16-bit ones: (the result's dtype, the result, the dtype of the gradient)."""
    leaves: list[Any] = []
    rng = np.random.default_rng(0)

    def make(*shape: int) -> Any:
        leaf = library.tensor((rng.random(shape) * 0.5 + 0.1).astype(np.float32), requires_grad=True)
        leaves.append(leaf)
        return leaf if given == "float32" else leaf.to(getattr(library, given))

    with library.autocast("cpu", dtype=getattr(library, dtype)):
        y = CASES[name](library, library.nn.functional, make)
    if y.requires_grad:
        factors = np.linspace(-1, 2, y.numel()).reshape(tuple(y.shape))  # sums of some results have no gradient
        (y.double() * library.tensor(factors)).sum().backward()
    return str(y.dtype).split(".")[-1], y.detach().double().numpy(), [leaf.grad for leaf in leaves]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("given", ["float32", "16 bits"])
@pytest.mark.parametrize("name", CASES)
def test_dtypes_and_values_are_those_of_pytorch_on_a_cpu(name: str, given: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    given = dtype if given == "16 bits" else given
    found, value, gradients = _result(gpunn, name, given, dtype)
    wanted, expected, theirs = _result(torch, name, given, dtype)
    assert found == wanted
    # Of 8 or 11 bits the last three: PyTorch rounds several times on the way, ours once at the end.
    near = {"bfloat16": 2**-5, "float16": 2**-8}[dtype]
    np.testing.assert_allclose(value, expected, rtol=near, atol=near)
    for gradient, other in zip(gradients, theirs, strict=True):
        assert (gradient is None) == (other is None)
        if gradient is not None:
            assert gradient.dtype == np.float32
            scale = float(other.abs().max())
            np.testing.assert_allclose(gradient.numpy(), other.numpy(), rtol=4 * near, atol=4 * near * scale)


# -- what CUDA's lists say, which PyTorch needs a GPU for --------------------------------------------------------------


def _dtype_on_kernels(where: str, name: str, dtype: Any) -> Any:
    def make(*shape: int) -> Any:
        return gpunn.full(shape, 0.25, device=where, dtype=dtype)

    gpunn.set_default_device(where)
    try:
        with gpunn.autocast(where.split(":")[0], dtype=gpunn.float16):
            return CASES[name](gpunn, nn.functional, make).dtype
    finally:
        gpunn.set_default_device(None)


TO_16_BITS = _words("linear conv2d conv3d conv_transpose2d matmul bmm addmm baddbmm addbmm einsum attention prelu")
TO_FLOAT32 = _words(
    "pow square power_of_a_number reciprocal_of_a_number sum sum_1 prod cumsum_1 cumprod_1 norm logsumexp_1 softmax "
    "log_softmax layer_norm rms_norm group_norm cosine_similarity dist cdist mse_loss l1_loss smooth_l1_loss "
    "huber_loss "
    "binary_cross_entropy_with_logits kl_div cosine_embedding_loss hinge_embedding_loss margin_ranking_loss "
    "soft_margin_loss triplet_margin_loss multi_margin_loss poisson_nll_loss interpolate normalize softplus "
    "acos asin cosh sinh tan erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt"
)
AS_GIVEN = _words("mean var std sigmoid tanh relu gelu add avg_pool2d max_pool2d sin sqrt batch_norm erf")


@pytest.mark.parametrize("name", [*TO_16_BITS, *TO_FLOAT32, *AS_GIVEN])
def test_dtypes_on_a_gpu_are_those_of_the_lists_for_cuda(kernels: str, name: str) -> None:
    found = [_dtype_on_kernels(kernels, name, dtype) for dtype in (gpunn.float32, gpunn.float16)]
    if name in TO_16_BITS:
        assert found == [np.float16, np.float16]
    else:
        assert found == [np.float32, np.float32 if name in TO_FLOAT32 else np.float16]


@pytest.mark.parametrize("layer", ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell", "LSTM_projected"])
@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")  # PyTorch's, that it takes a slower way
def test_recurrent_layers(layer: str) -> None:
    """Their dtypes on a CPU are PyTorch's; 16-bit inputs and states are taken too."""
    torch = pytest.importorskip("torch")
    made = []
    for library in (gpunn, torch):
        name, _, projected = layer.partition("_")
        model = getattr(library.nn, name)(5, 4, **({"proj_size": 3} if projected else {}))
        if library is gpunn:
            state = {k: torch.tensor(v.numpy()) for k, v in model.state_dict().items()}
        else:
            model.load_state_dict(state)
        x = library.tensor(np.random.default_rng(0).standard_normal((3, 2, 5)[layer[-4:] == "Cell" :]).astype("f"))
        # PyTorch's LSTM wants AMX or the like for 16 bits, but with gradients.
        with library.autocast("cpu", dtype=library.bfloat16):
            try:
                y = model(x)
            except RuntimeError:
                y = None
            first = y if y is None or not isinstance(y, tuple) else y[0]
            if first is not None:
                first.float().sum().backward()
            if library is gpunn:
                model(x.bfloat16(), y[1] if isinstance(y, tuple) and layer != "LSTMCell" else y)
        made.append((first, [p.grad for p in model.parameters()]))
    (ours, gradients), (theirs, others) = made
    if theirs is None:
        assert ours.dtype == gpunn.bfloat16
        return
    assert str(ours.dtype) == str(theirs.dtype).split(".")[-1]
    np.testing.assert_allclose(ours.detach().float().numpy(), theirs.detach().float().numpy(), atol=2**-5)
    for a, b in zip(gradients, others, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=2**-3 * float(b.abs().max()))


# -- blocks ------------------------------------------------------------------------------------------------------------


def _dtype() -> Any:
    x = gpunn.ones(2, 2)
    return (x @ x).dtype


def test_blocks_nest_and_end() -> None:
    bfloat16 = np.dtype(gpunn.bfloat16)
    assert not gpunn.is_autocast_enabled("cpu")
    with gpunn.autocast("cpu"):
        assert _dtype() == bfloat16
        assert gpunn.is_autocast_enabled("cpu")
        assert not gpunn.is_autocast_enabled()  # on GPUs
        assert gpunn.get_autocast_dtype("cpu") == bfloat16
        with gpunn.autocast("cpu", dtype=gpunn.float16):
            assert _dtype() == np.float16
            with gpunn.autocast("cpu", enabled=False):
                assert _dtype() == np.float32
        with gpunn.autocast("cuda"):
            assert _dtype() == bfloat16
        with pytest.raises(ZeroDivisionError), gpunn.autocast("cpu", dtype=gpunn.float16):
            raise ZeroDivisionError
        assert _dtype() == bfloat16
    with gpunn.autocast("cuda"):
        assert _dtype() == np.float32
    assert _dtype() == np.float32
    assert gpunn.get_autocast_dtype("cuda") == np.float16
    assert not casting.depth


def test_a_function_and_a_generator_are_decorated() -> None:
    bfloat16 = np.dtype(gpunn.bfloat16)
    assert gpunn.autocast("cpu")(_dtype)() == bfloat16

    @gpunn.autocast("cpu")
    def steps() -> Any:
        yield _dtype()
        yield _dtype()

    running = steps()
    assert next(running) == bfloat16
    assert _dtype() == np.float32
    assert next(running) == bfloat16


def test_threads_have_blocks_of_their_own() -> None:
    found = []
    with gpunn.autocast("cpu"):
        thread = threading.Thread(target=lambda: found.append(_dtype()))
        thread.start()
        thread.join()
    assert found == [np.float32]


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(UsageError, match="device_type: expected one of cuda"):
        gpunn.autocast("gpu")
    with pytest.raises(ArgumentError, match=r"device\.type"):
        gpunn.autocast(gpunn.device("cpu"))  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="expected float16 or bfloat16; got float32"):
        block = gpunn.autocast("cpu", dtype=gpunn.float32)
    with block:
        assert _dtype() == np.float32


def test_parameters_are_converted_once_in_a_block_and_anew_once_they_change() -> None:
    model, x = nn.Linear(3, 2, bias=False), gpunn.ones(4, 3)
    optimizer = gpunn.optim.SGD(model.parameters(), lr=0.5)

    def kept() -> list[Any]:
        return [copy for *_, copy in casting._kept.values()]

    with gpunn.autocast("cpu"):
        first = model(x)
        (copy,) = kept()
        second = model(x)
        assert kept()[0] is copy
        (first.sum() + second.sum()).backward()
        assert model.weight.grad is not None
        assert model.weight.grad.tolist() == [[8.0] * 3] * 2
        model(x).sum().backward()  # the copy's node was freed by the first
        before = kept()[0]
        optimizer.step()
        found = model(x)
        assert kept()[0] is not before
        expected = model.weight.detach().to(dtype=gpunn.bfloat16).float().sum(1)
        np.testing.assert_allclose(found[0].detach().float().numpy(), expected.numpy(), rtol=2**-8)
        with gpunn.no_grad():
            model.weight.fill_(3.0)
        assert model(x).tolist() == [[9.0, 9.0]] * 4
        gpunn.clear_autocast_cache()
        assert not kept()
        model(x)
    assert not kept()
    with gpunn.autocast("cpu", cache_enabled=False):
        assert not gpunn.is_autocast_cache_enabled()
        model(x)
        assert not kept()
    with gpunn.autocast("cpu"), gpunn.no_grad():
        model(x)  # such a copy has no gradient, which a later use would miss
        assert not kept()


def test_in_place_ops_and_given_results_keep_their_dtype(kernels: str) -> None:
    """Of an op that computes in float32 within the block."""
    x, y = (gpunn.ones(3, dtype=gpunn.float16, device=kernels) for _ in range(2))
    with gpunn.autocast(kernels.split(":")[0]):
        assert x.exp().dtype == np.float32
        x.exp_()
        into: Any = gpunn.exp  # stubs do not know `out`, which a seam takes
        into(y, out=y)
    for changed in (x, y):
        assert changed.dtype == np.float16
        assert changed.tolist() == [float(np.float16(np.e))] * 3


def test_a_captured_step_depends_on_the_block_and_reads_new_weights(kernels: str) -> None:
    """As eager steps to the bit, whether the block is around the step or within it."""
    kind = kernels.split(":")[0]

    def trained(captured: bool, inside: bool) -> tuple[np.ndarray, list[float]]:
        gpunn.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).to(kernels)
        optimizer = gpunn.optim.SGD(model.parameters(), lr=0.1)
        rng = np.random.default_rng(1)
        x = gpunn.tensor(rng.standard_normal((5, 6)).astype(np.float32), device=kernels)
        t = gpunn.tensor(rng.integers(0, 3, 5), device=kernels)

        def step(x: Any, t: Any) -> Any:
            with gpunn.autocast(kind, dtype=gpunn.bfloat16, enabled=True if inside else casting.on):
                loss = nn.functional.cross_entropy(model(x), t)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        run = gpunn.capture(step) if captured else step
        losses = []
        for number in range(6):
            with gpunn.autocast(kind, dtype=gpunn.bfloat16, enabled=not inside and number != 3):
                losses.append(float(run(x, t).item()))
        return model[0].weight.detach().numpy(), losses

    for inside in (True, False):
        eager, captured = trained(False, inside), trained(True, inside)
        assert captured[1] == eager[1]
        np.testing.assert_array_equal(captured[0], eager[0])
        assert eager[1][-1] < eager[1][0]


def test_a_trainer_within_a_block(kernels: str) -> None:
    """It multiplies 16 bits, in training and in the test after each epoch; weights and statistics stay float32."""
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((24, 1, 8, 8)).astype(np.float32), rng.integers(0, 3, 24)
    loader = gpunn.data.DataLoader(gpunn.data.TensorDataset(images, labels), 8)

    def trained(block: bool) -> tuple[list[list[float]], list[np.ndarray]]:
        gpunn.manual_seed(0)
        layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 3)
        model = nn.Sequential(*layers)
        trainer = gpunn.Trainer(model, gpunn.optim.SGD(model.parameters(), lr=0.05), device=kernels, log=None)
        with gpunn.autocast(kernels.split(":")[0], dtype=gpunn.bfloat16, enabled=block):
            trainer.fit(loader, loader, epochs=3)
        losses = [[record.train_loss, record.test_loss or 0.0] for record in trainer.history]
        return losses, [t.detach().numpy() for t in model.state_dict().values()]

    (losses, found), (exact, expected) = trained(True), trained(False)
    np.testing.assert_allclose(losses, exact, rtol=0.02)  # bf16 keeps 8 bits
    assert all(one != other for one, other in zip(np.ravel(losses), np.ravel(exact), strict=True))
    assert losses[-1][0] < 0.8 * losses[0][0]
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, atol=0.02 * max(1.0, np.abs(other).max()))


def test_a_graph_converts_weights_itself(kernels: str) -> None:
    """Also where a block around it has a copy of them already."""
    model, x = nn.Linear(3, 2, bias=False).to(kernels), gpunn.ones(4, 3, device=kernels)
    run = gpunn.capture(lambda x: model(x))
    with gpunn.autocast(kernels.split(":")[0]):
        model(x)
        run(x)
        run(x)
        with gpunn.no_grad():
            model.weight.fill_(3.0)
        assert run(x).tolist() == [[9.0, 9.0]] * 4


def test_custom_functions_cast_as_they_are_told() -> None:
    seen = {}

    class Product(gpunn.Function):
        @staticmethod
        @gpunn.amp.custom_fwd(device_type="cpu")
        def forward(ctx: Any, x: Any, w: Any) -> Any:
            ctx.save_for_backward(x, w)
            seen["forward"] = (x @ w).dtype
            return x @ w

        @staticmethod
        @gpunn.amp.custom_bwd(device_type="cpu")
        def backward(ctx: Any, dy: Any) -> Any:
            x, w = ctx.saved_tensors
            dx = dy @ w.t()
            seen["backward"] = dx.dtype
            return dx.float(), (x.t() @ dy).float()

    class Exact(gpunn.Function):
        @staticmethod
        @gpunn.amp.custom_fwd(device_type="cpu", cast_inputs=gpunn.float32)
        def forward(ctx: Any, x: Any) -> Any:
            seen["exact"] = (x.dtype, (x @ x).dtype)
            return x * 2

        @staticmethod
        @gpunn.amp.custom_bwd(device_type="cpu")
        def backward(ctx: Any, dy: Any) -> Any:
            return dy * 2

    x, w = (gpunn.ones(2, 2, requires_grad=True) for _ in range(2))
    with gpunn.autocast("cpu"):
        y = Product.apply(x, w)
        Exact.apply(y)
    y.float().sum().backward()
    assert (seen["forward"], seen["backward"]) == (gpunn.bfloat16, gpunn.bfloat16)
    assert seen["exact"] == (np.float32, np.float32)


def test_nothing_is_cast_without_a_block() -> None:
    assert not casting.on
    assert (gpunn.ones(2, dtype=gpunn.float16).exp()).dtype == np.float16
    with pytest.raises(GpunnError):
        nn.functional.linear(gpunn.ones(2, 2, dtype=gpunn.float16), gpunn.ones(2, 2))
