"""A Trainer as one process and as several: ``mpiexec -n 2 python -m tests.distributed.training OUT KIND DEVICE``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import gpunn
from gpunn import distributed as dist
from gpunn import nn, optim
from gpunn.data import DataLoader, TensorDataset
from gpunn.train import Callback, EarlyStopping, Trainer
from gpunn.utils import data as torch_like

KINDS = (
    *("even", "uneven", "fewer", "pieces", "skip", "plateau", "early", "list", "torch-like", "sampler", "dropout"),
    *("resume", "norm"),
)
_ITEMS = {"uneven": 29, "fewer": 25, "skip": 32}  # of the last batch of 8 are left 5 and 1


class _Words(Callback):
    """Notes what it is told of, on every rank."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_epoch_end(self, trainer: Trainer, record: Any) -> None:
        self.told.append([record.epoch, record.train_loss, record.test_loss, record.lr])


def train(out: str, kind: str, device: str = "cpu") -> None:
    """Three epochs; the first process keeps parameters and figures."""
    rank, size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    dtype = np.dtype(np.float64 if device == "cpu" else np.float32)
    rng = np.random.default_rng(2)
    n = _ITEMS.get(kind, 32)
    labels = np.arange(n) % 3
    images = (rng.standard_normal((n, 2, 4, 4)) + labels[:, None, None, None]).astype(dtype)
    if kind == "skip":
        images[20] = np.nan  # in one rank's part of one batch
    gpunn.manual_seed(4)
    layers = [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3) if kind == "norm" else nn.Identity(), nn.ReLU(), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Dropout(0.5 if kind == "dropout" else 0), nn.Linear(12, 3)).to(dtype)
    opt = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    whole = TensorDataset(images, labels)
    test: Any = DataLoader(TensorDataset(images[:7], labels[:7]), 3, device=device)
    loader: Any = DataLoader(whole, 8, shuffle=True, device=device)
    if kind == "list":
        loader = [(gpunn.tensor(images[i : i + 8]), gpunn.tensor(labels[i : i + 8])) for i in range(0, n, 8)]
    if kind == "torch-like":
        loader = torch_like.DataLoader(torch_like.TensorDataset(gpunn.tensor(images), gpunn.tensor(labels)), 8)
    if kind == "sampler":  # the order of one process is that of all ranks' parts, one after the other
        parts = [list(torch_like.DistributedSampler(range(n), 2, r, shuffle=False)) for r in range(2)]
        whole_order = [i for k in range(0, n // 2, 4) for part in parts for i in part[k : k + 4]]
        order = torch_like.DistributedSampler(whole, shuffle=False) if size > 1 else whole_order
        loader = DataLoader(whole, 8 // size, sampler=order, device=device)
    how: dict[str, Any] = {}
    if kind == "pieces":
        how = {"accumulate": 2, "clip_grad_norm": 0.5}
    if kind == "skip":
        how = {"not_finite": "skip"}
    if kind == "plateau":
        how = {"scheduler": optim.lr_scheduler.ReduceLROnPlateau(opt, patience=0, factor=0.5, threshold=10.0)}
    words = _Words()
    callbacks: list[Any] = [words]
    if kind == "early":
        callbacks.append(EarlyStopping("test_loss", patience=1, min_delta=100.0))
    folder = Path(out)
    resumes = kind == "resume" and (folder / "checkpoints").exists()
    how.update(checkpoint_every=3, keep=10)
    trainer = Trainer(model, opt, device=device, log=None, out=folder, callbacks=callbacks, overwrite=True, **how)
    assert (trainer.folder is None) is (rank > 0)
    if resumes:
        assert trainer.resume() == []
        assert trainer.step == 6
    trainer.fit(loader, test, 3 - trainer.epoch)
    if kind == "resume" and not resumes and rank == 0:  # as if it had been killed in the second epoch
        for path in (folder / "checkpoints").iterdir():
            if path.name != "step-000000006.safetensors":
                path.unlink()
    assert trainer.evaluate(test).images == 7
    figures = [words.told, trainer.step, trainer.stop_reason, [r.skipped for r in trainer.history]]
    if size > 1:
        everyone: list[Any] = [None] * size
        state = {name: t.tolist() for name, t in model.state_dict().items()}
        dist.all_gather_object(everyone, [figures, state])
        assert all(other == everyone[0] for other in everyone), "the ranks are not at the same place"
    if rank == 0:
        (folder / "figures.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    dist.init_process_group()
    train(*sys.argv[1:])
