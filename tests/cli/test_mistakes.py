"""What a user gets wrong at the command line, one row each: exit status 1 or 2, one message, no traceback."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunn.cli.main import main
from gpunn.errors import UsageError
from tests.cli.test_cli import ROOT

_NETS = """
import sys

import gpunn
from gpunn import nn

NUMBER = 3

class Net(nn.Module):
    input_shape = (1, 8, 8)

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        return self.fc(x.flatten(1))

class Constructor(Net):
    def __init__(self):
        super().__init__()
        self.scale = 1 / 0  # Constructor

class Forward(Net):
    def forward(self, x):
        return self.fc(x.flatten(1)).nothing  # Forward

class Shape(Net):
    def forward(self, x):
        return self.fc(x)  # Shape

class Double(gpunn.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, dy):
        raise ValueError("mine")  # Double

class Backward(Net):
    def forward(self, x):
        return Double.apply(super().forward(x))

class Exits(Net):
    def forward(self, x):
        sys.exit(3)  # Exits

class ExitsAtOnce(Net):
    def __init__(self):
        sys.exit("bye")  # ExitsAtOnce

class NoInit(nn.Module):
    input_shape = (1, 8, 8)

    def __init__(self):
        self.fc = nn.Linear(64, 10)  # NoInit

class Few(Net):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 3)

class Nothing(Net):
    def forward(self, x):
        pass

class Five(Net):
    input_shape = 5

class Pair(Net):
    def forward(self, x):
        return super().forward(x), 1

class Picture(Net):
    def forward(self, x):
        return x

class Endless(Net):
    def forward(self, x):
        return self.forward(x)  # Endless

class Deep(Net):
    def __init__(self):
        super().__init__()
        self.body = nn.ReLU()
        for _ in range(2000):
            self.body = nn.Sequential(self.body)

class Huge(Net):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(10**8, 10**8)  # Huge

class Fixed(nn.Module):
    input_shape = (1, 8, 8)

    def forward(self, x):
        return x.flatten(1)[:, :10]

class NotANumber(Net):
    def forward(self, x):
        return super().forward(x) * float("nan")

class Needs(nn.Module):
    input_shape = (1, 8, 8)

    def __init__(self, layers):
        super().__init__()

class Two(Net):
    def forward(self, x, y):  # Two
        return super().forward(x)

class Late(Net):
    def forward(self, x):
        import not_installed  # Late

class Asserts(Net):
    def forward(self, x):
        assert x.shape[1] == 3  # Asserts

class Missing(Net):
    def __init__(self):
        open("weights.bin")  # Missing

def number():
    return 3
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: networks, data, a run, and things that are not what they are taken for."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "net.py").write_text(_NETS.lstrip("\n"))
    (folder / "syntax.py").write_text("def f(:\n")
    (folder / "imports.py").write_text("import not_installed\n")
    (folder / "exits.py").write_text("import sys\nsys.exit(4)\n")
    (folder / "bytes.py").write_bytes(b"\xff\xfe")
    (folder / "text.png").write_text("no picture")
    (folder / "text.npz").write_text("no arrays")
    (folder / "empty").write_text("")
    (folder / "folder.py").mkdir()
    (folder / "nothing").mkdir()
    rng = np.random.Generator(np.random.Philox(0))
    x, y = rng.integers(0, 255, (20, 8, 8)).astype(np.uint8), np.arange(20) % 10
    np.savez(folder / "d.npz", x_train=x, y_train=y, x_test=x[:10], y_test=y[:10])
    np.savez(folder / "small.npz", x_train=x[:, 2:, 2:], y_train=y, x_test=x[:10, 2:, 2:], y_test=y[:10])
    train = ["train", "mlp", "--data", str(folder / "d.npz"), "--epochs", "1", "--max-steps", "1", "--device", "cpu"]
    assert main([*train, "--out", str(folder / "run")]) == 0
    for name in ("no_config", "no_weights", "bad_weights", "bad_config", "other_model"):
        shutil.copytree(folder / "run", folder / name)
    (folder / "no_config" / "config.json").unlink()
    (folder / "no_weights" / "model.safetensors").unlink()
    (folder / "bad_weights" / "model.safetensors").write_bytes(b"xx")
    (folder / "bad_config" / "config.json").write_text("{")
    config = json.loads((folder / "run" / "config.json").read_text())
    config["model"]["name"] = "lenet5"
    (folder / "other_model" / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(autouse=True)
def _there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.delenv("GPUNN_DATA", raising=False)
    monkeypatch.delenv("GPUNN_TRACEBACK", raising=False)


# Words ('' is an empty one), status, and what the message says; @Name is the number of the line marked so in net.py.
_TRAIN = "train {} --data d.npz --device cpu --epochs 1 --max-steps 1"
_SWEEP = "sweep mlp --data d.npz --device cpu"
_STEP = "train lenet5 --data d.npz --device cpu --max-steps 1"
_MISTAKES: list[tuple[str, int, str]] = [
    # -- commands
    ("trian lenet5", 2, "unknown command 'trian': expected one of train, eval, predict"),
    ("Train lenet5", 2, "did you mean 'train'?"),
    ("help", 2, "unknown command 'help'"),
    ("help", 2, "did you mean '--help'?"),
    ("version", 2, "did you mean '--version'?"),
    ("-- train", 2, "unknown command '--'"),
    ("''", 2, "after 'gpunn': expected a value; got ''. Is a variable of the shell's not set?"),
    ("-x", 2, "unknown option '-x' (see gpunn --help)"),
    ("--verbose", 2, "unknown option '--verbose' (see gpunn --help)"),
    ("--version=3", 2, "ignored explicit argument '3'"),
    # -- train: numbers
    ("train", 2, "expected a network's name, such as lenet5, or file.py:Net"),
    ("train lenet5 mlp", 2, "unknown option 'mlp' (see gpunn train --help)"),
    (f"{_STEP} --epochs 0", 2, "argument --epochs: expected a whole number of at least 1; got '0'"),
    (f"{_STEP} --epochs=-1", 2, "argument --epochs: expected a whole number of at least 1; got '-1'"),
    (f"{_STEP} --epochs 1e3", 2, "expected a whole number of at least 1; got '1e3'"),
    (f"{_STEP} --epochs 2.0", 2, "expected a whole number of at least 1; got '2.0'"),
    (f"{_STEP} --epochs nan", 2, "expected a whole number of at least 1; got 'nan'"),
    (f"{_STEP} --epochs {10**25}", 2, "argument --epochs: expected a whole number of at most 2,147,483,647; got '1000"),
    (f"{_STEP} --epochs {'9' * 5000}", 2, "999...999"),
    (f"{_STEP} --epochs ''", 2, "after '--epochs': expected a value; got ''"),
    (f"{_STEP} --epochs=", 2, "after '--epochs': expected a value; got ''"),
    (f"{_STEP} --epochs", 2, "argument --epochs: expected one argument"),
    (f"{_STEP} --epoch 3", 2, "unknown option '--epoch' (see gpunn train --help); did you mean '--epochs'?"),
    (f"{_STEP} --batch-size 0", 2, "argument --batch-size: expected a whole number of at least 1; got '0'"),
    (
        f"{_STEP} --batch_size 8",
        2,
        "unknown option '--batch_size' (see gpunn train --help); did you mean '--batch-size'",
    ),
    (f"{_STEP} --max-steps 0", 2, "argument --max-steps: expected a whole number of at least 1; got '0'"),
    (f"{_STEP} --workers -1", 2, "argument --workers: expected a whole number of at least 0; got '-1'"),
    (f"{_STEP} --seed -1", 2, "argument --seed: expected a whole number of at least 0; got '-1'"),
    (f"{_STEP} --seed 1e5", 2, "argument --seed: expected a whole number of at least 0; got '1e5'"),
    (f"{_STEP} --lr nan", 2, "argument --lr: expected a number above 0; got 'nan'"),
    (f"{_STEP} --lr inf", 2, "argument --lr: expected a number above 0; got 'inf'"),
    (f"{_STEP} --lr 1e400", 2, "argument --lr: expected a number above 0; got '1e400'"),
    (f"{_STEP} --lr -0.1", 2, "argument --lr: expected a number above 0; got '-0.1'"),
    (f"{_STEP} --lr 0,01", 2, "argument --lr: expected a number above 0; got '0,01'"),
    (f"{_STEP} --lr-decay 0", 2, "argument --lr-decay: expected a number above 0; got '0'"),
    (f"{_STEP} --momentum nan", 2, "argument --momentum: expected a number of at least 0; got 'nan'"),
    (f"{_STEP} --weight-decay inf", 2, "argument --weight-decay: expected a number of at least 0; got 'inf'"),
    (f"{_STEP} --accumulate 0", 2, "argument --accumulate: expected a whole number of at least 1; got '0'"),
    (f"{_STEP} --clip-grad-norm 0", 2, "argument --clip-grad-norm: expected a number above 0; got '0'"),
    (f"{_STEP} --not-finite ignore", 2, "argument --not-finite: expected one of stop, skip; got 'ignore'"),
    (f"{_STEP} --checkpoint-every 0", 2, "argument --checkpoint-every: expected a whole number of at least 1; got '0'"),
    (f"{_STEP} --keep 0", 2, "argument --keep: expected a whole number of at least 1; got '0'"),
    (f"{_STEP} --trust", 2, "--trust: it is for --resume; a network that you name yourself is trusted"),
    (f"{_STEP} --out run", 2, "run: holds a run already. Go on with it (gpunn train --resume"),
    ("train --resume", 2, "argument --resume: expected one argument"),
    ("train --resume none", 2, "--resume: expected the folder of a run; none does not exist"),
    ("train --resume nothing", 2, "--resume: expected the folder of a run; nothing has no config.json"),
    ("train --resume bad_config", 2, "config.json: not a configuration that gpunn train wrote"),
    ("train --resume run --lr 1", 2, "--lr: a resumed run keeps its own. With --resume expected at most --device"),
    ("train lenet5 --resume run", 2, "model: the run in run trains mlp; got lenet5. Leave it out."),
    (f"{_STEP} --label-smoothing 1.5", 2, "--label-smoothing: expected a number from 0 to 1; got 1.5"),
    # -- train: names
    ("train lenet4", 2, "unknown model 'lenet4': expected one of lenet5, mlp"),
    ("train LeNet5", 2, "did you mean 'lenet5'?"),
    (f"{_STEP} --optimizer SGD", 2, "argument --optimizer: expected one of sgd, adam, adamw, adagrad, rmsprop, lamb"),
    (f"{_STEP} --schedule linear", 2, "argument --schedule: expected one of constant, exponential, step, cosine"),
    (f"{_STEP} --schedule cosine --lr-decay .5", 2, "--lr-decay: it is for the schedules exponential, step, plateau"),
    (f"{_STEP} --optimizer adam --momentum .9", 2, "--momentum: it is for sgd and rmsprop; got --optimizer adam"),
    (f"{_STEP} --augment flop", 2, "expected some of crop, flip, cutout, jitter; got 'flop'; did you mean 'flip'?"),
    (f"{_STEP} --augment crop,,flip", 2, "--augment: expected some of crop, flip, cutout, jitter; got ''"),
    (f"{_STEP} --device gpu", 2, "unknown device 'gpu'; expected one of cpu, cuda, cuda-plain, emulator, auto"),
    (f"{_STEP} --device cpu:1", 2, "unknown device 'cpu:1'"),
    (f"{_STEP} --device cuda:x", 2, "unknown device 'cuda:x'"),
    # -- train: files
    (f"{_STEP} --out net.py", 2, "net.py: expected a folder to write to; net.py is a file. Give another name."),
    (f"{_STEP} --out ''", 2, "after '--out': expected a value; got ''"),
    (f"{_STEP} --out net.py/run", 2, "net.py/run: expected a folder"),
    ("train lenet5 --data mnits", 2, "got 'mnits'; did you mean 'mnist'?"),
    ("train lenet5 --data none.npz", 2, "none.npz"),
    ("train lenet5 --data text.npz", 2, "NpzDataset (text.npz): expected a file made by numpy.savez"),
    ("train lenet5 --data net.py", 2, "expected digits, mnist, fashion-mnist, cifar10, cifar100, a folder or"),
    ("train lenet5 --data net.py", 2, "got 'net.py', which is neither."),
    ("train lenet5 --data nothing", 2, "--data: expected folders train/ and test/ in nothing"),
    ("train lenet5 --data ''", 2, "after '--data': expected a value; got ''"),
    ("train lenet5 --data mnist", 2, "--data mnist needs its files: give the folder that contains mnist/"),
    ("train lenet5 --data mnist --data-dir none", 2, "--data-dir: none does not exist"),
    ("train lenet5 --data mnist --data-dir empty", 2, "--data-dir: empty is not a folder"),
    ("train lenet5 --data mnist --data-dir nothing", 2, "train-images-idx3-ubyte"),
    (f"{_STEP} --data-dir nothing", 2, "it is for mnist, fashion-mnist, cifar10, cifar100; got --data d.npz"),
    (f"{_STEP} --download", 2, "--download: d.npz is not published data"),
    (f"{_STEP} --image-size 8", 2, "--image-size: it is for folders of images; got --data d.npz"),
    ("train lenet5 --image-size 0", 2, "argument --image-size: expected a whole number of at least 1; got '0'"),
    (
        "train lenet5 --image-size 99999999999",
        2,
        "argument --image-size: expected a whole number of at most 2,147,483,647",
    ),
    # -- a network of one's own
    (_TRAIN.format("net.py"), 2, "model 'net.py': expected file.py:Net, with the name of the class behind a colon"),
    (_TRAIN.format("none.py:Net"), 2, "there is no file none.py; expected file.py:Net"),
    (_TRAIN.format("folder.py:Net"), 2, "folder.py"),
    (_TRAIN.format("net.py:Nut"), 2, "net.py has no 'Nut'; did you mean 'Net'?"),
    (_TRAIN.format("net.py:NUMBER"), 2, "'NUMBER' in net.py is int; expected a Module class or a function"),
    (_TRAIN.format("net.py:number"), 2, "model 'net.py:number': expected a gpunn.nn.Module; got int"),
    (_TRAIN.format("net.py:Needs"), 2, "missing 1 required positional argument: 'layers'"),
    (_TRAIN.format("syntax.py:Net"), 2, "SyntaxError: invalid syntax (syntax.py, line 1)"),
    (_TRAIN.format("imports.py:Net"), 2, "No module named 'not_installed' [imports.py, line 1]"),
    (_TRAIN.format("bytes.py:Net"), 2, "bytes.py could not be run: SyntaxError: "),
    (_TRAIN.format("exits.py:Net"), 1, "exits.py, line 2: sys.exit(4) would end the whole program"),
    (
        _TRAIN.format("net.py:Constructor"),
        1,
        "net.py, line @Constructor, in __init__: ZeroDivisionError: division by zero",
    ),
    (
        _TRAIN.format("net.py:Forward"),
        1,
        "net.py, line @Forward, in forward: AttributeError: 'Tensor' object has no attribute",
    ),
    (
        _TRAIN.format("net.py:Shape"),
        1,
        "fc (Linear): expected 64 input features to match weight (10, 64); got x of shape",
    ),
    (_TRAIN.format("net.py:Shape"), 1, "is the usual cause. [net.py, line @Shape, in forward]"),
    (_TRAIN.format("net.py:Backward"), 1, "net.py, line @Double, in backward: ValueError: mine"),
    (_TRAIN.format("net.py:Exits"), 1, "net.py, line @Exits, in forward: sys.exit(3) would end the whole program"),
    (_TRAIN.format("net.py:ExitsAtOnce"), 1, "net.py, line @ExitsAtOnce, in __init__: sys.exit('bye') would end"),
    (_TRAIN.format("net.py:NoInit"), 2, "NoInit: call super().__init__() before assigning 'fc'. [net.py, line @NoInit"),
    (_TRAIN.format("net.py:Few"), 1, "is not a class index: the scores have 3 classes, 0 to 2"),
    (_TRAIN.format("net.py:Nothing"), 2, "CrossEntropyLoss: input: expected a Tensor; got None"),
    (_TRAIN.format("net.py:Pair"), 2, "CrossEntropyLoss: input: expected a Tensor; got a tuple of Tensor, int"),
    (_TRAIN.format("net.py:Picture"), 1, "CrossEntropyLoss: expected for input (20, 1, 8, 8) a target of shape"),
    (
        _TRAIN.format("net.py:Endless"),
        1,
        "net.py, line @Endless, in forward: RecursionError: maximum recursion depth exceeded",
    ),
    (_TRAIN.format("net.py:Deep"), 1, "the network is nested too deeply for Python's stack"),
    (_TRAIN.format("net.py:Huge"), 1, "out of memory: Unable to allocate"),
    (
        _TRAIN.format("net.py:Huge"),
        1,
        "Take smaller batches or images, or a smaller network. [net.py, line @Huge, in __init__]",
    ),
    (_TRAIN.format("net.py:Fixed"), 2, "SGD: got an empty parameter list"),
    (_TRAIN.format("net.py:NotANumber"), 1, "the training loss became nan at step 1"),
    (_TRAIN.format("net.py:Two"), 1, "net.py, line @Two, in forward: TypeError: Two.forward() missing 1 required"),
    (
        _TRAIN.format("net.py:Late"),
        1,
        "net.py, line @Late, in forward: ModuleNotFoundError: No module named 'not_installed'",
    ),
    (_TRAIN.format("net.py:Asserts"), 1, "net.py, line @Asserts, in forward: AssertionError: assert x.shape[1] == 3"),
    (
        _TRAIN.format("net.py:Missing"),
        1,
        "net.py, line @Missing, in __init__: FileNotFoundError: [Errno 2] No such file or dir",
    ),
    # -- train: going on
    ("train --resume", 2, "argument --resume: expected one argument"),
    ("train --resume none", 2, "--resume: expected the folder of a run; none does not exist"),
    ("train --resume net.py", 2, "--resume: expected the folder of a run; net.py is not a folder"),
    ("train --resume nothing", 2, "--resume: expected the folder of a run; nothing has no config.json"),
    ("train --resume bad_config", 2, "bad_config/config.json: not a configuration that gpunn train wrote"),
    ("train --resume run --lr 0.1", 2, "--lr: a resumed run keeps its own"),
    ("train --resume run --out other", 2, "--out: a resumed run keeps its own"),
    ("train lenet5 --resume run", 2, "the run in run trains mlp; got lenet5"),
    (f"{_STEP} --epochs 1 --out run", 2, "run: holds a run already"),
    (f"{_STEP} --trust", 2, "--trust: it is for --resume"),
    (f"{_STEP} --keep 0", 2, "argument --keep: expected a whole number of at least 1; got '0'"),
    (f"{_STEP} --clip-grad-norm 0", 2, "argument --clip-grad-norm: expected a number above 0; got '0'"),
    (f"{_STEP} --accumulate x", 2, "argument --accumulate: expected a whole number of at least 1; got 'x'"),
    (f"{_STEP} --not-finite go", 2, "argument --not-finite: expected one of stop, skip; got 'go'"),
    (f"{_STEP} --patience 0", 2, "argument --patience: expected a whole number of at least 1; got '0'"),
    (f"{_STEP} --monitor test_loss", 2, "--monitor: it says what --patience N watches; give both"),
    (f"{_STEP} --no-save --out other", 2, "--no-save: it keeps nothing, and --out says where to keep it"),
    (f"{_STEP} --no-save --tensorboard", 2, "--tensorboard: its files are in the run's folder, and --no-save keeps"),
    # -- eval
    ("eval", 2, "the following arguments are required: RUN (see gpunn eval --help)"),
    ("eval none", 2, "none does not exist"),
    ("eval ''", 2, "after 'eval': expected a value; got ''"),
    ("eval nothing", 2, "nothing has no config.json and no model.safetensors"),
    ("eval no_config", 2, "no_config has no config.json"),
    ("eval no_weights", 2, "no_weights has no model.safetensors"),
    ("eval bad_weights", 2, "bad_weights/model.safetensors: "),
    ("eval bad_config", 2, "bad_config/config.json"),
    ("eval other_model --device cpu", 1, "LeNet5: the state_dict does not fit, so nothing was loaded"),
    ("eval net.py", 2, "net.py is not a folder"),
    ("eval run run", 2, "unknown option 'run' (see gpunn eval --help)"),
    ("eval run --part tests", 2, "argument --part: expected one of test, train; got 'tests'; did you mean 'test'?"),
    ("eval run --batch-size 0", 2, "argument --batch-size: expected a whole number of at least 1; got '0'"),
    ("eval run --data small.npz --device cpu", 2, "(1, 6, 6)"),
    ("eval run --device cudas", 2, "unknown device 'cudas'"),
    # -- predict
    ("predict", 2, "the following arguments are required: IMAGE, --run (see gpunn predict --help)"),
    ("predict text.png", 2, "the following arguments are required: --run"),
    ("predict --run run", 2, "the following arguments are required: IMAGE"),
    ("predict none.png --run run", 2, "there is no file none.png"),
    ("predict nothing --run run", 2, "nothing"),
    ("predict text.png --run run", 2, "text.png: could not be decoded as an image"),
    ("predict empty --run run", 2, "empty: could not be decoded as an image"),
    ("predict text.png --run none", 2, "none does not exist"),
    ("predict text.png --run run --top 0", 2, "argument --top: expected a whole number of at least 1; got '0'"),
    (
        "predict text.png --run run --inverted",
        2,
        "unknown option '--inverted' (see gpunn predict --help); did you mean",
    ),
    # -- summary
    ("summary", 2, "the following arguments are required: model (see gpunn summary --help)"),
    ("summary lenet", 2, "unknown model 'lenet'"),
    ("summary lenet5 --input 1,28", 2, "--input: expected channels,height,width such as 1,28,28; got '1,28'"),
    ("summary lenet5 --input 0,28,28", 2, "expected channels,height,width such as 1,28,28; got '0,28,28'"),
    ("summary lenet5 --input 1,a,28", 2, "expected channels,height,width such as 1,28,28; got '1,a,28'"),
    ("summary lenet5 --input 1,28,²", 2, "expected channels,height,width such as 1,28,28; got '1,28,²'"),
    ("summary lenet5 --input 1,2,2", 2, "2 pools leave nothing of an image of 2x2"),
    ("summary lenet5 --input 1,100000000,100000000", 2, "is more than any array holds"),
    ("summary mlp --input 1,3000000,3000000", 1, "out of memory: Unable to allocate"),
    ("summary net.py:Net --input 3,4,4", 1, "fc (Linear): expected 64 input features"),
    ("summary net.py:Needs", 2, "could not be built"),
    ("summary run", 2, "unknown model 'run'"),
    # -- bench
    ("bench --cases none", 2, "no case is called 'none'"),
    ("bench --cases ''", 2, "after '--cases': expected a value; got ''"),
    ("bench --cases relu --against torchh", 2, "torchh"),
    ("bench --size huge", 2, "argument --size: expected one of full, cpu, tiny; got 'huge'"),
    ("bench --dtype float16", 2, "argument --dtype: expected one of float32, float64; got 'float16'"),
    ("bench --threads 0", 2, "argument --threads: expected a whole number of at least 1; got '0'"),
    ("bench --seconds inf", 2, "argument --seconds: expected a number above 0; got 'inf'"),
    ("bench --out x.jsonl --quick", 2, "--out: the results of --quick are not worth keeping"),
    ("bench --out nothing", 2, "--out: expected a file; nothing is a folder"),
    ("bench --device gpu", 2, "unknown device 'gpu'"),
    # -- profile
    ("profile", 2, "the following arguments are required: model (see gpunn profile --help)"),
    ("profile lenet", 2, "unknown model 'lenet'"),
    ("profile lenet5 --steps 0", 2, "argument --steps: expected a whole number of at least 1; got '0'"),
    ("profile lenet5 --batch-size 2147483647 --device cpu", 1, "out of memory: Unable to allocate"),
    ("summary net.py:Five", 2, "input_shape: expected the (C, H, W) of an image, whole numbers; got 5"),
    ("profile net.py:Pair --device cpu", 2, "expected a network that returns one tensor; got tuple"),
    ("profile net.py:Forward --device cpu", 1, "net.py, line @Forward, in forward: AttributeError"),
    # -- explain
    ("explain", 2, "the following arguments are required: model (see gpunn explain --help)"),
    ("explain lenet6", 2, "unknown model 'lenet6'"),
    ("explain lenet5 conv9", 2, "there is no layer 'conv9'; expected one of conv1, relu1"),
    ("explain lenet5 flatten --no-counts --batch-size 2", 2, "layer 'flatten' launches no kernel of its own"),
    ("explain lenet5 --card GTX", 2, "unknown card 'GTX': expected one of T4, A100"),
    ("explain lenet5 conv1 --blocks 0", 2, "argument --blocks: expected a whole number of at least 1; got '0'"),
    ("explain lenet5 --batch-size 2147483647", 1, "out of memory: Unable to allocate"),
    ("explain net.py:Forward", 1, "net.py, line @Forward, in forward: AttributeError"),
    ("explain net.py:Pair", 2, "expected a network that returns one tensor; got tuple"),
    # -- plot
    ("plot", 2, "the following arguments are required: RUN (see gpunn plot --help)"),
    ("plot run --kind curve", 2, "argument --kind: expected one of curves, confusion, mistakes; got 'curve'"),
    ("plot run --batch-size 0", 2, "argument --batch-size: expected a whole number of at least 1; got '0'"),
    # -- sweep
    ("sweep", 2, "the following arguments are required: model (see gpunn sweep --help)"),
    ("sweep lenet6 --lr 0.1,0.2", 2, "unknown model 'lenet6'"),
    (_SWEEP, 2, "expected at least one option that varies, such as --lr 1e-3..1e-1"),
    (f"{_SWEEP} --lr 0.1", 2, "expected at least one option that varies, such as --lr 1e-3..1e-1"),
    (f"{_SWEEP} --lr 0.1..0.01", 2, "argument --lr: expected a range A..B with A below B; '0.1..0.01' runs down"),
    (f"{_SWEEP} --lr 0..0.1", 2, "argument --lr: expected a number above 0; got '0'"),
    (f"{_SWEEP} --lr 0.1..", 2, "argument --lr: expected a range such as 1..10"),
    (f"{_SWEEP} --lr 0.1-0.2", 2, "argument --lr: expected a number above 0; got '0.1-0.2'"),
    (f"{_SWEEP} --batch-size 16;32", 2, "argument --batch-size: expected a whole number of at least 1; got '16;32'"),
    (f"{_SWEEP} --batch-size 1.5..3", 2, "argument --batch-size: expected a whole number of at least 1; got '1.5'"),
    (f"{_SWEEP} --batch-size 16,16", 2, "argument --batch-size: expected different values; got one twice"),
    (f"{_SWEEP} --optimizer sgd,adm", 2, "argument --optimizer: expected one of sgd, adam, adamw"),
    (f"{_SWEEP} --lr 0.1,0.2 --trials 0", 2, "argument --trials: expected a whole number of at least 1; got '0'"),
    (f"{_SWEEP} --lr 0.1,0.2 --sampler best", 2, "argument --sampler: expected one of tpe, random, grid; got 'best'"),
    (f"{_SWEEP} --lr 0.1..0.2 --sampler grid", 2, "--lr: --sampler grid needs values such as 0.1,0.1414,0.2"),
    (f"{_SWEEP} --seed 0..99999 --sampler grid", 2, "--sampler grid: expected at most 10,000 combinations"),
    (f"{_SWEEP} --lr 0.1,0.2 --learning-rate 1", 2, "unknown option '--learning-rate' (see gpunn sweep --help)"),
    (f"{_SWEEP} --lr 0.1,0.2 --overwrite", 2, "unknown option '--overwrite' (see gpunn sweep --help)"),
    (f"{_SWEEP} --lr 0.1,0.2 --optimizer adam --momentum 0.9", 2, "--momentum: it is for sgd and rmsprop"),
    (f"{_SWEEP} --schedule cosine --lr-decay 0.1,0.2", 2, "--lr-decay: it is for the schedules exponential, step"),
    (f"{_SWEEP} --label-smoothing 0..0.2", 2, "Give --monitor test_accuracy_percent"),
    (
        f"{_SWEEP} --label-smoothing 0..2 --monitor test_accuracy_percent",
        2,
        "--label-smoothing: expected numbers from 0 to 1; got 0..2",
    ),
    (f"{_SWEEP} --lr 0.1,0.2 --monitor accuracy", 2, "argument --monitor: expected one of test_loss, test_accuracy"),
    (f"{_SWEEP} --lr 0.1,0.2 --prune --epochs 2", 2, "--prune: it ends trials after their second epoch"),
    (f"{_SWEEP} --lr 0.1,0.2 --augment flop", 2, "--augment: expected some of crop, flip"),
    (f"{_SWEEP} --lr 0.1,0.2 --device gpu", 2, "unknown device 'gpu'"),
    (f"{_SWEEP} --lr 0.1,0.2 --out run", 2, "--out: run holds a run of gpunn train"),
    (f"{_SWEEP} --lr 0.1,0.2 --name a", 2, "--storage and --name: the database, and which sweep in it"),
    (f"{_SWEEP} --lr 0.1,0.2 --storage sqlite:///a.db", 2, "--storage and --name: the database, and which sweep in it"),
    (f"{_SWEEP} --lr 0.1,0.2 --storage a.db --name a", 2, "--storage: expected sqlite:///FILE, postgresql://"),
    ("sweep mlp --lr 0.1,0.2 --data nowhere", 2, "--data: expected digits, mnist"),
    # -- lockstep
    ("lockstep", 2, "the following arguments are required: model (see gpunn lockstep --help)"),
    ("lockstep lenet6", 2, "unknown model 'lenet6'"),
    ("lockstep lenet5 --devices cpu", 2, "argument --devices: expected two devices such as cpu,emulator; got 'cpu'"),
    ("lockstep lenet5 --devices cpu,", 2, "expected two devices such as cpu,emulator; got 'cpu,'"),
    ("lockstep lenet5 --devices cpu,cpu,cpu", 2, "expected two devices such as cpu,emulator; got 'cpu,cpu,cpu'"),
    ("lockstep lenet5 --devices cpu,gpu", 2, "unknown device 'gpu'"),
    (
        "lockstep lenet5 --device cuda",
        2,
        "unknown option '--device' (see gpunn lockstep --help); did you mean '--devices'",
    ),
    ("lockstep lenet5 --dtype float16", 2, "argument --dtype: expected one of float32, float64; got 'float16'"),
    ("lockstep net.py:Forward --devices cpu,cpu", 1, "net.py, line @Forward, in forward: AttributeError"),
    ("lockstep net.py:Backward --devices cpu,cpu", 1, "net.py, line @Double, in backward: ValueError: mine"),
    ("lockstep net.py:Nothing --devices cpu,cpu", 2, "expected a network that returns tensors; got NoneType"),
    # -- doctor
    ("doctor cuda", 2, "unknown option 'cuda' (see gpunn doctor --help)"),
    ("doctor --device gpu", 2, "--device: expected one of auto, cpu, cuda, cuda-plain, emulator"),
    ("doctor --device cpu:1", 2, "or a numbered GPU such as cuda:1; got 'cpu:1'"),
    ("doctor --limit 0", 2, "argument --limit: expected a number above 0; got '0'"),
    ("doctor --jsn", 2, "unknown option '--jsn' (see gpunn doctor --help); did you mean '--json'?"),
    # -- tune
    ("tune", 2, "tune: expected a model, such as resnet20 or net.py:Net"),
    ("tune lenet5 --device cpu", 2, "tune: device 'cpu' is no GPU with kernels; expected cuda or cuda:1"),
    ("tune lenet5 --device emulator", 2, "--predict H200 says what the cost model would choose"),
    ("tune lenet5 --clear", 2, "tune: --clear goes without a model and --predict"),
    ("tune lenet5 --predict H20", 2, "unknown card 'H20'"),
    ("tune lenet6 --predict H200", 2, "unknown model 'lenet6'"),
    ("tune lenet5 --precision fp16", 2, "argument --precision: expected"),
    ("tune lenet5 --batch-size 0", 2, "argument --batch-size: expected a whole number of at least 1; got '0'"),
    # -- warmup
    ("warmup --device cpu", 2, "warmup: device 'cpu' runs no kernels"),
    ("warmup --batch-size 3", 2, "--batch-size: it is about a model; got none"),
    ("warmup lenet6", 2, "unknown model 'lenet6'"),
    ("warmup lenet5 --processes 0", 2, "argument --processes: expected a whole number of at least 1; got '0'"),
]


def _checked(status: int, said: str, expected: int, text: str) -> None:
    assert "Traceback" not in said
    assert said.endswith("\n")
    assert said.count("\n") == 1, said
    assert said.startswith("gpunn: error: ")
    assert len(said) <= 500
    assert text in said
    assert "fault of gpunn" not in said
    assert status == expected


@pytest.mark.parametrize(
    ("words", "status", "text"), _MISTAKES, ids=[f"{words[:60]}-{n}" for n, (words, _, _) in enumerate(_MISTAKES)]
)
def test_a_mistake_is_one_message(words: str, status: int, text: str, capsys: Any) -> None:
    given = ["" if word == "''" else word for word in words.split()]
    lines = Path("net.py").read_text().splitlines()
    text = re.sub(
        "@([A-Z][A-Za-z]+)", lambda m: str(next(i for i, s in enumerate(lines, 1) if s.endswith(f"# {m[1]}"))), text
    )
    got = main(given)
    _checked(got, capsys.readouterr().err, status, text)


def test_there_are_120() -> None:
    assert len({words for words, _, _ in _MISTAKES}) >= 120


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        ("plot run", 2, "pictures need matplotlib ("),
        ("train mlp --epochs 1 --max-steps 1 --device cpu", 2, "scikit-learn"),
        (f"{_STEP} --epochs 1 --tensorboard", 2, "TensorBoard needs its package"),
        ("predict text.png --run run", 2, "pillow"),
        ("bench --cases relu.forward --size tiny --device cpu --against torch", 2, "torch"),
        (f"{_SWEEP} --lr 0.1,0.2", 2, "gpunn sweep needs Optuna ("),
        (f"{_SWEEP} --lr 0.1,0.2", 2, "pip install 'gpunn[sweep]'"),
    ],
)
def test_optional_packages_that_are_missing(
    words: str, status: int, text: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib", "sklearn", "sklearn.datasets", "PIL", "torch", "tensorboard", "optuna"):
        monkeypatch.setitem(sys.modules, name, None)
    got = main(words.split())
    said = capsys.readouterr().err
    _checked(got, said, status, text)
    assert "pip install" in said


# -- in a process of its own: streams, limits, locales -------------------------------------------------


def _shell(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A line of bash, where ``gpunn`` is this program."""
    names = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PYTHON", "GPUNN_", "COV_"))}
    script = f'gpunn() {{ {shlex.quote(sys.executable)} -m gpunn "$@"; }}\n{line}'
    path = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["/bin/bash", "-c", script], env={**names, **path, **environment}, capture_output=True, timeout=120, check=False
    )


_POSIX = pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")
_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full and /proc are Linux's")


@_LINUX
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("line", "status", "text"),
    [
        ("gpunn summary lenet5 >/dev/full", 1, "cannot write to standard output: No space left on device."),
        ("gpunn --help >/dev/full", 1, "cannot write to standard output: No space left on device."),
        ("gpunn summary lenet5 >&-", 1, "standard output is closed. Redirect it to a file, or to /dev/null."),
    ],
)
def test_a_full_or_closed_output(unbuffered: str, line: str, status: int, text: str) -> None:
    done = _shell(line, PYTHONUNBUFFERED=unbuffered)
    _checked(done.returncode, done.stderr.decode(), status, text)


@_LINUX
def test_training_on_a_full_output_says_so_at_once() -> None:
    done = _shell("gpunn train net.py:Net --data d.npz --device cpu --epochs 1000000 >/dev/full")
    _checked(done.returncode, done.stderr.decode(), 1, "cannot write to standard output: No space left on device.")


@_LINUX
@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full", "2>&- >&- <&-"])
def test_where_errors_cannot_be_told_the_status_stands(redirected: str) -> None:
    done = _shell(f"gpunn summary lenet6 {redirected}")
    assert done.returncode == (1 if ">&- <" in redirected else 2)
    assert done.stdout == done.stderr == b""


@_POSIX
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_told_nothing(unbuffered: str) -> None:
    first, second = "gpunn summary lenet5 | true", "gpunn train net.py:Net --data d.npz --device cpu | head -c 1"
    line = f'{first}; s=${{PIPESTATUS[0]}}; {second}; echo "$s ${{PIPESTATUS[0]}}"'
    done = _shell(line, PYTHONUNBUFFERED=unbuffered)
    assert (done.stdout, done.stderr) == (b"T141 141\n", b"")


@_POSIX
def test_bytes_and_letters_that_the_locale_has_not(place: Path) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii:strict"}
    done = _shell("gpunn summary $'n\\xff.py:Net'", **plain)
    _checked(done.returncode, done.stderr.decode("ascii"), 2, "there is no file n\\udcff.py; expected file.py:Net")
    # The folder's name is printed as far as it can be.
    (place / "größe.py").write_text((place / "net.py").read_text())
    done = _shell("gpunn summary größe.py:Net", **plain)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("ascii").startswith("gr\\udcc3\\udcb6\\udcc3\\udc9fe.py:Net: ")


@_POSIX
def test_a_working_folder_that_is_gone(place: Path) -> None:
    done = _shell("mkdir gone; cd gone; rmdir ../gone; gpunn summary net.py:Net")
    _checked(done.returncode, done.stderr.decode(), 2, "there is no file net.py; expected file.py:Net")
    done = _shell("mkdir gone; cd gone; rmdir ../gone; gpunn train mlp --data digits --max-steps 1 --out run")
    _checked(done.returncode, done.stderr.decode(), 2, "No such file or directory")


@_LINUX
def test_memory_that_the_system_does_not_give() -> None:
    # A BLAS of many threads would take more than that before anything else.
    line = "ulimit -v 900000; gpunn profile mlp --batch-size 400000 --device cpu --threads 1"
    done = _shell(line, OPENBLAS_NUM_THREADS="1")
    _checked(done.returncode, done.stderr.decode(), 1, "out of memory: Unable to allocate 1.17 GiB for an array")


@_LINUX
@pytest.mark.parametrize("command", ["bench --cases relu --size tiny --quick", "warmup --device emulator"])
def test_no_compiler(command: str, tmp_path: Path) -> None:
    done = _shell(f"PATH={tmp_path}; gpunn {command} --device emulator")
    _checked(
        done.returncode, done.stderr.decode(), 2, "the emulator needs g++ (version 9 or later), which is not on PATH"
    )


@_LINUX
def test_a_kernel_cache_that_cannot_be_written() -> None:
    line = "gpunn profile net.py:Net --device emulator --batch-size 1 --steps 1"
    done = _shell(line, GPUNN_CACHE="/proc/cache")
    _checked(done.returncode, done.stderr.decode(), 1, "set GPUNN_CACHE to a folder that can be written")


def test_an_interruption_is_one_line_and_130(place: Path, capsys: Any) -> None:
    (place / "stops.py").write_text("raise KeyboardInterrupt")
    assert main(["summary", "stops.py:Net"]) == 130
    assert capsys.readouterr().err == "gpunn: interrupted\n"


def test_a_fault_of_ours_is_called_one_and_its_traceback_can_be_seen(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpunn.nn import summary

    monkeypatch.setattr(summary, "summarize", summary.shape_text)  # which takes one argument
    assert main(["summary", "lenet5"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("gpunn: error: unexpected TypeError: ")
    assert "This is a fault of gpunn: please report it, with the traceback that GPUNN_TRACEBACK=1 shows." in said
    assert "summary.py:" in said
    monkeypatch.setenv("GPUNN_TRACEBACK", "1")
    assert main(["summary", "lenet5"]) == 1
    again = capsys.readouterr().err
    assert again.startswith("Traceback (most recent call last):")
    assert again.endswith(said)


def test_long_messages_keep_their_begin_and_their_end() -> None:
    from gpunn.cli import failures

    text, status = failures.describe(UsageError("first " + 300 * "word " + "last"))
    assert len(text) == failures.LONGEST
    assert text.startswith("first word")
    assert text.endswith("word last")
    assert status == 2


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (
            PermissionError(13, "Permission denied", "/a/b"),
            2,
            "/a/b: Permission denied. Check who may read and write it",
        ),
        (OSError(28, "No space left on device", "x"), 1, "x: No space left on device. Free some space"),
        (OSError(5, "Input/output error"), 1, "the system says: Input/output error."),
        (ModuleNotFoundError("No module named 'sklearn.x'", name="sklearn.x"), 2, "pip install scikit-learn"),
        (RuntimeError("Could not determine home directory."), 1, "the home folder is not known"),
        (RuntimeError("can't start new thread"), 1, "the system allows no further thread"),
        (MemoryError(), 1, "out of memory. Take smaller batches or images"),
        (AssertionError(), 1, "unexpected AssertionError. This is a fault of gpunn"),
        (KeyError("a"), 1, "unexpected KeyError: 'a'. This is a fault of gpunn"),
        (RecursionError("maximum recursion depth exceeded"), 1, "the network is nested too deeply"),
    ],
    ids=repr,
)
def test_what_other_errors_become(error: Exception, status: int, text: str) -> None:
    from gpunn.cli import failures

    said, found = failures.describe(error)
    assert text in said
    assert found == status


@pytest.mark.parametrize("name", ["pathlib.py", "pathlib/__init__.py"])
def test_a_path_of_too_many_folders(name: str) -> None:
    from gpunn.cli import failures

    library = Path(sysconfig.get_paths()["stdlib"], name)  # a file, since Python 3.14 a folder
    with pytest.raises(RecursionError) as raised:
        exec(compile("raise RecursionError('maximum recursion depth exceeded')", str(library), "exec"))
    error = raised.value
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next  # without this test, which is no library
    assert failures.describe(error) == ("a path has too many folders, one in the other. Give a shorter one.", 2)
