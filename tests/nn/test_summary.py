"""The summary: any module whose forward runs; counts, receptive fields, notes, the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import models, nn
from gpunn.errors import ShapeError
from gpunn.nn import functional as F
from gpunn.nn.counting import full_weights, local_weights, shared_weights
from gpunn.nn.module import Module


def fields(model: Module, shape: tuple[int, ...]) -> dict:
    """{layer: (receptive field, jump), "all" or None}"""
    found = {}
    for row in nn.summarize(model, shape).layers:
        known = None if row.receptive_field is None else (row.receptive_field, row.jump)
        found[row.name] = "all" if row.sees_all else known
    return found


def influence(model: Module, shape: tuple[int, ...], at: tuple[int, ...]) -> tuple[int, ...]:
    """How far the inputs spread on which the output element ``at`` really depends, by its gradient."""
    x = gpunn.randn(1, *shape, requires_grad=True)
    y = model.eval()(x)
    dy = np.zeros(y.shape, np.float32)
    dy[0, 0][at] = 1
    y.backward(gpunn.tensor(dy))
    touched = np.nonzero(np.abs(x.grad.numpy()[0]).sum(axis=0))
    return tuple(int(places.max() - places.min() + 1) for places in touched)


def test_receptive_fields_are_those_of_the_gradient() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 3, (3, 5), stride=2, dilation=(2, 1)),
        nn.BatchNorm2d(3),
        nn.Conv2d(3, 3, 2, padding="same"),
        nn.Conv2d(3, 2, (3, 1), stride=(1, 2)),
        nn.Conv2d(2, 2, 2),
    )
    last = nn.summarize(model, (1, 41, 41)).layers[-1]
    assert (last.receptive_field, last.jump) == ((13, 11), (2, 4))
    assert influence(model, (1, 41, 41), (6, 4)) == (13, 11)
    pools = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(1, 1, 3), nn.MaxPool2d(3, 2, 1))
    assert fields(pools, (1, 30, 30))["2"] == ((10, 10), (4, 4))


def test_receptive_fields_of_sequences() -> None:
    model = nn.Sequential(
        nn.Conv1d(2, 3, 3, stride=2), nn.LocallyConnected1d(3, 2, 2, 14), nn.Conv1d(2, 1, 3, dilation=2)
    )
    assert fields(model, (2, 29)) == {"0": ((3,), (2,)), "1": ((5,), (2,)), "2": ((13,), (2,))}
    assert influence(model, (2, 29), (4,)) == (13,)
    assert fields(nn.Conv1d(1, 1, 1), (1, 1)) == {"": ((1,), (1,))}


def test_receptive_fields_in_volumes() -> None:
    model = nn.Sequential(
        nn.Conv3d(1, 2, (3, 1, 2), stride=(1, 2, 1), dilation=(2, 1, 1)),
        nn.BatchNorm3d(2),
        nn.AvgPool3d((2, 3, 1), 2),
        nn.Conv3d(2, 1, 2),
    )
    assert fields(model, (1, 12, 20, 9))["3"] == ((8, 9, 4), (2, 4, 2))
    assert influence(model, (1, 12, 20, 9), (1, 1, 1)) == (8, 9, 4)
    assert fields(nn.MaxPool3d(3, 2), (1, 5, 5, 5)) == {"": ((3, 3, 3), (2, 2, 2))}


class Block(nn.Module):
    """A residual block: convolutions in one branch, functions between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 5, padding=2)

    def forward(self, x):
        return F.relu(x + self.second(F.relu(self.norm(self.first(x)))))


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, 4, 3, 2, 1), Block(4)
        self.pool, self.last = nn.MaxPool2d(2), nn.Conv2d(4, 2, 1)
        self.first_head, self.second_head = nn.Linear(2 * 4 * 4, 3), nn.Linear(2 * 4 * 4, 5)

    def forward(self, x):
        x = self.last(self.pool(self.block(self.stem(x)))).flatten(1)
        return {"a": self.first_head(x), "b": [self.second_head(x)]}


def test_branches_take_the_most() -> None:
    assert fields(Branches(), (3, 16, 16)) == {
        "stem": ((3, 3), (2, 2)),
        "block.first": ((7, 7), (2, 2)),
        "block.norm": ((7, 7), (2, 2)),
        "block.second": ((15, 15), (2, 2)),
        "pool": ((17, 17), (4, 4)),
        "last": ((17, 17), (4, 4)),
        "first_head": "all",
        "second_head": "all",
    }


class Own(nn.Module):
    """A layer without a rule."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(gpunn.ones(1))

    def forward(self, x, other=None):
        return x * self.scale


class TwoOutputs(nn.Module):
    def forward(self, x):
        return x + 1, [x * 2]


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.two, self.own, self.conv, self.pool = TwoOutputs(), Own(), nn.Conv2d(1, 1, 3), nn.MaxPool2d(2)

    def forward(self, x):
        a, (b,) = self.two(x)
        return self.pool(self.conv(self.own(x=a) + b) + 0).flatten(1)


def test_what_has_no_rule_is_shown_without_and_so_is_what_follows() -> None:
    summary = nn.summarize(Odd(), (1, 6, 6))
    assert fields(Odd(), (1, 6, 6)) == {"two": None, "own": None, "conv": None, "pool": None}
    assert [row.output_shape for row in summary.layers] == [(1, 6, 6), (1, 6, 6), (1, 4, 4), (1, 2, 2)]
    assert [row.parameters for row in summary.layers] == [0, 1, 10, 0]
    assert summary.layers[0].activation_bytes == 2 * 36 * 4
    assert summary.layers[1].cells() == ("own", "Own", "1x6x6", "1", "-", "144 B", "-", "")


def test_a_function_that_changes_the_size_ends_what_is_known() -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.head = nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3), nn.Linear(4, 2)

        def forward(self, x):
            x = self.second(F.max_pool2d(self.first(x), 2))
            return self.head(F.max_pool2d(x, 2).flatten(1))

    assert fields(Cut(), (1, 14, 14)) == {"first": ((3, 3), (1, 1)), "second": None, "head": None}

    class Corner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Conv2d(1, 1, 3), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(F.max_pool2d(self.first(x), 2).flatten(1))

    assert fields(Corner(), (1, 6, 6))["head"] is None, "a linear layer sees only what reaches it"


def test_multiply_adds_and_memory() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, groups=2),
        nn.BatchNorm2d(4),
        nn.LocallyConnected2d(4, 3, 3, 4),
        nn.Dropout(),
        nn.Flatten(),
        nn.Linear(12, 5),
    )
    rows = nn.summarize(model, (2, 6, 6)).layers
    assert [row.multiply_adds for row in rows] == [4 * 16 * 9, 64, 2 * 2 * 3 * 4 * 9, 0, 0, 60]
    assert [row.activation_bytes for row in rows] == [256, 256, 48, 0, 48, 20]  # dropout returns its input here
    assert nn.summarize(nn.Linear(4, 3), (5, 4)).multiply_adds == 5 * 12
    assert nn.summarize(nn.Conv1d(2, 4, 3), (2, 9)).multiply_adds == 7 * 4 * 6


def test_attention_counts_its_products_and_sees_all_positions() -> None:
    layers = {layer.name: layer for layer in nn.summarize(models.build("vit-small"), (3, 32, 32)).layers}
    attention = layers["encoder.layers.encoder_layer_0.self_attention"]
    L, E = 65, 192
    assert attention.multiply_adds == 3 * L * E * E + 2 * L * L * E  # projections; scores and weighted sums
    assert attention.sees_all
    assert layers["conv_proj"].receptive_field == (4, 4)
    assert not layers["encoder.layers.encoder_layer_0.ln_1"].sees_all
    assert layers["encoder.layers.encoder_layer_0.mlp.3"].sees_all
    assert layers["heads.head"].sees_all
    # What a layer returns that one inside it has made is stored once.
    assert layers["encoder.ln"].activation_bytes == 4 * L * E
    assert layers["encoder"].activation_bytes == layers[""].activation_bytes == 0
    other = nn.MultiheadAttention(8, 2, kdim=5, vdim=7, add_bias_kv=True, add_zero_attn=True, batch_first=True)

    class Cross(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = other

        def forward(self, x: Any) -> Any:
            return self.attention(x, x[:, :3, :5], x[:, :3, :7])[0]

    row = next(r for r in nn.summarize(Cross(), (4, 8)).layers if r.name == "attention")
    # 4 queries, and 3 keys with the two that are added, whose projections the sum counts too.
    assert row.multiply_adds == (4 * 8 + 5 * (5 + 7)) * 8 + 2 * 4 * 5 * 8


@pytest.mark.parametrize("batch_first", [True, False])
def test_recurrent_layers_count_their_products_in_every_step(batch_first: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(4, 3, 2, batch_first=batch_first, bidirectional=True)
            self.step = nn.GRUCell(6, 2)

        def forward(self, x: Any) -> Any:
            y, _ = self.rnn(x if batch_first else x.transpose(0, 1))
            return self.step(y[:, -1] if batch_first else y[-1])

    rnn, step = nn.summarize(Net(), (7, 4)).layers
    assert rnn.output_shape == (7, 6)
    assert rnn.multiply_adds == 7 * 2 * 12 * ((4 + 3) + (6 + 3))
    assert rnn.parameters == 2 * 12 * ((4 + 3 + 2) + (6 + 3 + 2))
    assert rnn.activation_bytes == 4 * (7 * 6 + 2 * 4 * 3)
    assert (step.output_shape, step.multiply_adds, step.receptive_field) == ((2,), 6 * (6 + 2), None)


@pytest.mark.parametrize(
    ("name", "parameters", "multiply_adds"),
    [
        # Published by torchvision in units of 10^9, 0.71, 4.09, 17.56, 2.83.
        ("alexnet", 61_100_840, 0.71e9),
        ("resnet50", 25_557_032, 4.09e9),
        ("vit-b-16", 86_567_656, 17.56e9),
        ("densenet121", 7_978_856, 2.83e9),
    ],
)
def test_published_multiply_adds(name: str, parameters: int, multiply_adds: float, monkeypatch: Any) -> None:
    for draw in ("uniform", "normal"):  # weights of zeros, which cost no time
        monkeypatch.setattr(gpunn.Generator, draw, lambda self, *args: np.zeros(args[2], np.float32))
    monkeypatch.setattr("gpunn.nn.init.trunc_normal_", lambda tensor, *args, **options: tensor)
    entry = models.find(name)
    summary = nn.summarize(models.build(name, classes=entry.classes), entry.input_shape)
    assert summary.parameters == parameters
    # One product for each element of a norm, which the published figures leave out.
    assert abs(summary.multiply_adds / multiply_adds - 1) < 0.01


def test_counts_of_weights() -> None:
    window = nn.LocallyConnected2d(1, 1, 3, 4, 1, ((1, 0), (0, 2))).window(4, 4)
    # Top row of windows: two of three rows inside. Columns: 3, 3, 2, 1 of three.
    assert local_weights(window, 2, 5) == 3 * 4 * 9 * 10
    assert local_weights(window, 2, 5, inside=True) == (2 + 3 + 3) * (3 + 3 + 2 + 1) * 10
    assert shared_weights(window, 4, 6, 2) == 9 * 2 * 6
    assert full_weights(3, 4) == 12


def test_notes() -> None:
    notes = [
        row.notes
        for row in nn.summarize(
            nn.Sequential(nn.LocallyConnected1d(1, 1, 3, 8, 2), nn.Conv1d(1, 1, 2, 3, 1), nn.ReLU()), (1, 8)
        ).layers
    ]
    assert notes == [("last element of the padded input unused",), (), ("fused into 1",)]
    centred = nn.LocallyConnected2d(2, 3, 3, 4, padding="same")
    assert nn.summarize(centred, (2, 4, 4)).layers[0].notes == (f"{(144 - 100) * 6} weights meet only padding",)


def test_it_leaves_everything_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
    before = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    nn.summarize(model, (1, 5, 5))
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[name])
    assert not any(m._forward_hooks for m in model.modules())
    with gpunn.no_grad():
        assert fields(Branches(), (3, 16, 16))["last"] == ((17, 17), (4, 4))
        assert not gpunn.randn(2, requires_grad=True).sum().requires_grad
    with pytest.raises(ShapeError, match=r"^0 \(Conv2d\): expected 1 input channels"):
        nn.summarize(model, (2, 5, 5))


def test_dtype_of_the_input() -> None:
    class Index(nn.Module):
        def forward(self, x):
            assert x.dtype == np.int64
            return x

    assert nn.summarize(Index(), (3,), dtype="int64").layers[0].output_shape == (3,)
    assert nn.summarize(nn.Linear(3, 2, dtype="float64"), (3,)).activation_bytes == 16


def test_table_is_plain_text_with_aligned_columns() -> None:
    lines = str(nn.summarize(nn.Sequential(nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2)), (1, 28, 28))).splitlines()
    assert lines == [
        "layer  type       output    parameters  multiply-adds  activation  receptive field  notes",
        "-" * 96,
        "0      Conv2d     20x24x24         520        288,000    11.2 KiB  5x5 every 1",
        "1      ReLU       20x24x24           -              -           -  5x5 every 1      fused into 0",
        "2      MaxPool2d  20x12x12           -              -           -  6x6 every 2      fused into 0",
        "-" * 96,
        "total                              520        288,000    11.2 KiB",
    ]


def test_command_takes_ones_own_file(tmp_path, capsys) -> None:
    from gpunn.cli.main import main

    file = tmp_path / "net.py"
    file.write_text(
        "from gpunn import nn\n\n\nclass Net(nn.Sequential):\n    def __init__(self):\n"
        "        super().__init__(nn.Conv1d(2, 3, 3), nn.ReLU())\n\n\nnumber = 3\n"
    )
    assert main(["summary", f"{file}:Net", "--input", "2,9"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("input 2x9")
    assert lines[3].split() == ["0", "Conv1d", "3x7", "21", "126", "84", "B", "3", "every", "1"]
    for words, message in (
        ([f"{file}:Net"], "give the shape of one item with --input"),
        ([f"{file}:Nett", "--input", "2,9"], "has no 'Nett'"),
        ([f"{file}:number", "--input", "2,9"], "expected a Module class or a function"),
        ([f"{tmp_path / 'none.py'}:Net", "--input", "2,9"], "there is no file"),
        (["lenet5", "--input", "0,9"], "expected channels,height,width"),
    ):
        code: object
        try:
            code = main(["summary", *words])
        except SystemExit as ended:
            code = ended.code
        assert code == 2
        assert message in capsys.readouterr().err
