"""Every case by its name, once, in three sizes: ``full``, ``cpu`` (batches of images divided by 16), ``tiny``.

Names hold only what does not change with the size: ``conv06.forward`` is b256 64→64 3×3 56² on a GPU and b16 on a CPU.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

from gpunn.bench import loading, networks, ops
from gpunn.bench.case import Case
from gpunn.errors import UsageError, nearest

SIZES = ("full", "cpu", "tiny")
GROUPS = ("layers", "steps", "data")
DTYPES = ("float32", "float64")

# n, c, h, k, r, then stride, padding, dilation, groups where they are not 1, 0, 1, 1
CONVOLUTIONS: dict[str, tuple[tuple[int, int, int, int, int], dict[str, int]]] = {
    "conv01": ((128, 20, 14, 50, 5), {"pad": 2}),
    "conv02": ((128, 16, 32, 16, 3), {"pad": 1}),
    "conv03": ((512, 64, 32, 64, 3), {"pad": 1}),
    "conv04": ((256, 3, 224, 64, 7), {"stride": 2, "pad": 3}),
    "conv05": ((256, 64, 56, 256, 1), {}),
    "conv06": ((256, 64, 56, 64, 3), {"pad": 1}),
    "conv07": ((256, 128, 56, 128, 3), {"stride": 2, "pad": 1}),
    "conv08": ((256, 256, 14, 256, 3), {"pad": 1}),
    "conv09": ((256, 512, 7, 512, 3), {"pad": 1}),
    "conv10": ((256, 1024, 14, 256, 1), {}),
    "conv11a": ((128, 144, 56, 144, 3), {"pad": 1, "groups": 144}),
    "conv11b": ((128, 128, 56, 128, 3), {"pad": 1, "groups": 32}),
    "conv12": ((64, 256, 28, 256, 3), {"pad": 2, "dilation": 2}),
}
LENET_PARAMETERS = [500, 20, 25000, 50, 1225000, 500, 5000, 10]
STEP_BATCHES = (32, 128, 512)


def all_cases(size: str = "full", dtype: str = "float32") -> list[Case]:
    """All cases, single ops first.

    Parameters
    ----------
    size : str
        "full", "cpu" or "tiny".
    dtype : str
        "float32" or "float64"; loading and epochs are float32.

    Raises
    ------
    UsageError
        If the size or dtype is not one of these.
    """
    for what, given, known in (("size", size, SIZES), ("dtype", dtype, DTYPES)):
        if given not in known:
            raise UsageError(f"bench: {what}: expected one of {', '.join(known)}; got {given!r}.")
    return [*layers(size, dtype), *_steps(size, dtype), *_data(size)]


def layers(size: str, dtype: str) -> list[Case]:
    """Those of single ops."""
    tiny = size == "tiny"

    def batch(n: int) -> int:
        return {"full": n, "cpu": n // 16, "tiny": 2}[size]

    def small(value: int, least: int) -> int:
        return min(value, least) if tiny else value

    made = ops.copy("copy", 1 if tiny else 1000 if size == "full" else 100, dtype)
    for key, ((n, c, h, k, r), how) in CONVOLUTIONS.items():
        groups = how.get("groups", 1)
        if tiny:
            depthwise = groups == c
            c, k, h = min(c, 8), min(k, 8 if groups > 1 else 12), min(h, 13)
            groups = 1 if groups == 1 else c if depthwise else 2
        rest = how.get("stride", 1), how.get("pad", 0), how.get("dilation", 1), groups
        made += ops.convolution(key, batch(n), c, h, k, r, *rest, dtype=dtype)
    # The lecture's LeNet at batch 128, on every device; its second convolution is conv01 on a GPU.
    n, a, b = small(128, 2), small(20, 3), small(50, 5)
    made += ops.convolution("lenet-conv1", n, 1, small(28, 9), a, 5, pad=2, first=True, dtype=dtype)
    made += ops.convolution("lenet-conv2", n, a, small(14, 7), b, 5, pad=2, dtype=dtype) if size != "full" else []
    made += ops.max_pooling("lenet-pool1", n, a, small(28, 8), 2, 2, dtype=dtype)
    made += ops.max_pooling("lenet-pool2", n, b, small(14, 6), 2, 2, dtype=dtype)
    made += ops.linear("lenet-fc1", n, small(2450, 12), small(500, 7), dtype)
    made += ops.linear("lenet-fc2", n, small(500, 7), 10, dtype)
    made += ops.cross_entropy("lenet-loss", n, 10, dtype)
    made += ops.sgd("lenet-sgd", "of LeNet", [5, 3] if tiny else LENET_PARAMETERS, dtype)
    made += ops.adam("lenet-adam", "of LeNet", [5, 3] if tiny else LENET_PARAMETERS, dtype)
    made += ops.activation("lenet-relu", "relu", n, small(15_680, 7), dtype)  # the first convolution's output
    made += ops.max_pooling("stem-pool", batch(256), small(64, 4), small(112, 9), 3, 2, 1, dtype)
    for key, n, c, h in (("bn256", 256, 256, 56), ("bn64", 64, 64, 112)):
        made += ops.batch_norm(f"{key}-relu", batch(n), small(c, 4), small(h, 5), False, dtype)
        made += ops.batch_norm(f"{key}-add-relu", batch(n), small(c, 4), small(h, 5), True, dtype)
    made += ops.average_pooling("global-pool", batch(2048), small(512, 4), small(7, 3), small(7, 3), dtype)
    made += ops.average_pooling("avg-pool", batch(2048), small(64, 4), small(28, 4), 2, dtype)
    made += ops.linear("linear1024", small(128, 3), small(1024, 6), small(1024, 5), dtype)
    made += ops.layer_norm("layer-norm", small(4096, 3), small(768, 6), dtype)
    made += ops.group_norm("group-norm", batch(256), small(64, 4), small(56, 5), small(32, 2), dtype)
    for op in ("relu", "gelu", "sigmoid", "tanh"):
        made += ops.activation(op, op, small(4096, 3), small(3072, 7), dtype)
    for op in ("softmax", "log_softmax"):
        made += ops.activation(op, op, small(4096, 3), small(768, 6), dtype, dim=1)
    made += ops.cross_entropy("cross-entropy1000", small(256, 4), small(1000, 6), dtype)
    # 25.6 million parameters, as ResNet-50 has.
    made += ops.sgd("sgd25m", "of 25.6 M parameters", [6] * 3 if tiny else [512_000] * 50, dtype)
    return made


def _steps(size: str, dtype: str) -> list[Case]:
    if size == "tiny":
        made = networks.training_step(networks.lenet((2, 3), 8), 2, dtype)
        made += networks.training_step(networks.mlp((6, 5), 4), 3, dtype)
        return made + networks.training_step(networks.resnet_cifar(8, "A", 8), 2, dtype)
    made = []
    for n in STEP_BATCHES:
        made += networks.training_step(networks.lenet(), n, dtype)
    made += networks.training_step(networks.mlp(), 128, dtype)
    return made + networks.training_step(networks.resnet_cifar(20, "A"), 128, dtype)


def _data(size: str) -> list[Case]:
    tiny = size == "tiny"
    n, batch = (40, 16) if tiny else (12_800, 128)
    made = loading.batches("mnist", "MNIST-like", n, (28, 28, 1), batch)
    made += loading.batches("cifar", "CIFAR-like", n, (32, 32, 3), batch)
    network = networks.lenet((2, 3), 8) if tiny else networks.lenet()
    return made + loading.epoch("mnist-lenet", network, *((40, 20, 16) if tiny else (60_000, 10_000, 128)))


def select(patterns: Iterable[str], cases: list[Case]) -> list[Case]:
    """The cases whose id, key or group one of the patterns (``*`` and ``?`` as in a shell) matches, in their order.

    Raises
    ------
    UsageError
        If a pattern matches none.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        found = {case.id for case in cases if any(fnmatch.fnmatchcase(n, pattern) for n in _names(case))}
        if not found:
            known = [*GROUPS, *(case.key for case in cases), *(case.id for case in cases)]
            raise UsageError(
                f"no case is called {pattern!r}: expected names or patterns such as conv06, 'conv*.forward' or "
                f"{', '.join(GROUPS)} (--list shows all){nearest(pattern, known)}"
            )
        chosen |= found
    return [case for case in cases if case.id in chosen]


def _names(case: Case) -> tuple[str, ...]:
    return case.id, case.key, case.group


def by_id(name: str, size: str, dtype: str = "float32") -> Case:
    """The one case of this ``key.direction``."""
    return next(case for case in all_cases(size, dtype) if case.id == name)
