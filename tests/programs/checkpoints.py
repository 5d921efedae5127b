"""A script that trains, keeps checkpoints and goes on from them, with schedules by name and options of the shell."""

import argparse
import os
import shutil
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.parallel
import torch.optim
import torch.utils.data
from torch.optim import lr_scheduler

parser = argparse.ArgumentParser(description="Points in spirals, by a small network")
parser.add_argument("-j", "--workers", default=0, type=int)
parser.add_argument("--epochs", default=6, type=int, metavar="N")
parser.add_argument("--start-epoch", default=0, type=int, metavar="N")
parser.add_argument("-b", "--batch-size", default=16, type=int)
parser.add_argument("--lr", "--learning-rate", default=0.1, type=float, dest="lr")
parser.add_argument("--momentum", default=0.9, type=float, metavar="M")
parser.add_argument("--wd", "--weight-decay", default=1e-4, type=float, dest="weight_decay")
parser.add_argument(
    "--schedule", default="step", choices=["step", "multistep", "exp", "cosine", "warm", "plateau", "one", "poly"]
)
parser.add_argument("--optimizer", default="sgd", choices=["sgd", "adam", "adamw", "rmsprop"])
parser.add_argument("--resume", default="", metavar="PATH")
parser.add_argument("--folder", default="", metavar="PATH", help="where checkpoints go; none are kept without it")
parser.add_argument("-e", "--evaluate", action="store_true")
parser.add_argument("-p", "--print-freq", default=10, type=int)


class AverageMeter(object):
    """The latest value and the average of all."""

    def __init__(self, name, fmt=":f"):
        self.name = name
        self.fmt = fmt
        self.reset()

    def reset(self):
        self.val = self.avg = self.sum = self.count = 0.0

    def update(self, val, n=1):
        self.val = val
        self.sum += val * n
        self.count += n
        self.avg = self.sum / self.count

    def __str__(self):
        return ("{name} {val" + self.fmt + "} ({avg" + self.fmt + "})").format(**self.__dict__)


def accuracy(output, target, topk=(1,)):
    """Percentages of targets among the k best scores."""
    with torch.no_grad():
        maxk = max(topk)
        _, pred = output.topk(maxk, 1, True, True)
        pred = pred.t()
        correct = pred.eq(target.view(1, -1).expand_as(pred))
        return [correct[:k].reshape(-1).float().sum(0, keepdim=True).mul_(100.0 / target.size(0)) for k in topk]


class Spirals(torch.utils.data.Dataset):
    def __init__(self, count, seed):
        draw = np.random.RandomState(seed)
        self.target = np.arange(count) % 3
        turn = draw.rand(count)
        angle = 4 * turn + 2.1 * self.target + 0.1 * draw.randn(count)
        self.points = np.stack([turn * np.cos(angle), turn * np.sin(angle)], 1)

    def __len__(self):
        return len(self.target)

    def __getitem__(self, index):
        return torch.from_numpy(self.points[index]).to(torch.get_default_dtype()), int(self.target[index])


def build(toy=False):
    return nn.Sequential(
        nn.Linear(2, 16, bias=False),
        nn.BatchNorm1d(16),
        nn.ReLU(inplace=True),
        nn.Linear(16, 16),
        nn.Tanh(),
        nn.Linear(16, 3),
    )


def make_optimizer(args, model):
    decay = [p for n, p in model.named_parameters() if p.dim() > 1]
    rest = [p for n, p in model.named_parameters() if p.dim() <= 1]
    groups = [{"params": decay}, {"params": rest, "weight_decay": 0.0, "lr": 2 * args.lr}]
    if args.optimizer == "adam":
        return torch.optim.Adam(groups, args.lr, weight_decay=args.weight_decay, amsgrad=True)
    if args.optimizer == "adamw":
        return torch.optim.AdamW(groups, args.lr, weight_decay=args.weight_decay)
    if args.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, args.lr, momentum=args.momentum, weight_decay=args.weight_decay)
    return torch.optim.SGD(groups, args.lr, momentum=args.momentum, weight_decay=args.weight_decay, nesterov=True)


def make_scheduler(args, optimizer, steps):
    if args.schedule == "step":
        return lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    if args.schedule == "multistep":
        return lr_scheduler.MultiStepLR(optimizer, milestones=[1, 3], gamma=0.3)
    if args.schedule == "exp":
        return lr_scheduler.ExponentialLR(optimizer, 0.8)
    if args.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs, eta_min=1e-4)
    if args.schedule == "warm":
        warm = lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=2)
        rest = lr_scheduler.LambdaLR(optimizer, lr_lambda=lambda epoch: 0.9**epoch)
        return lr_scheduler.SequentialLR(optimizer, [warm, rest], milestones=[2])
    if args.schedule == "plateau":
        return lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", factor=0.5, patience=0, threshold=0.05)
    if args.schedule == "one":
        return lr_scheduler.OneCycleLR(optimizer, max_lr=[args.lr, 2 * args.lr], total_steps=args.epochs * steps)
    return lr_scheduler.PolynomialLR(optimizer, total_iters=args.epochs, power=0.9)


def train(train_loader, model, criterion, optimizer, scheduler, epoch, args):
    batch_time = AverageMeter("Time", ":6.3f")
    losses = AverageMeter("Loss", ":.4e")
    top1 = AverageMeter("Acc@1", ":6.2f")
    model.train()
    end = time.time()
    for i, (points, target) in enumerate(train_loader):
        output = model(points)
        loss = criterion(output, target)
        acc1, _ = accuracy(output, target, topk=(1, 2))
        losses.update(loss.item(), points.size(0))
        top1.update(acc1[0].item(), points.size(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if args.schedule == "one":
            scheduler.step()
        batch_time.update(time.time() - end)
        end = time.time()
        if i % args.print_freq == 0:
            print("Epoch: [{}][{}/{}]".format(epoch, i, len(train_loader)), batch_time, losses, top1, sep="\t")
    return losses.avg


def validate(val_loader, model, criterion):
    losses = AverageMeter("Loss", ":.4e")
    top1, top2 = AverageMeter("Acc@1", ":6.2f"), AverageMeter("Acc@2", ":6.2f")
    model.eval()
    with torch.no_grad():
        for points, target in val_loader:
            output = model(points)
            losses.update(criterion(output, target).item(), points.size(0))
            acc1, acc2 = accuracy(output, target, topk=(1, 2))
            top1.update(acc1[0].item(), points.size(0))
            top2.update(acc2[0].item(), points.size(0))
    print(f" * Acc@1 {top1.avg:.3f} Acc@2 {top2.avg:.3f}")
    return top1.avg, losses.avg


def save_checkpoint(state, is_best, folder):
    filename = os.path.join(folder, "checkpoint.pth.tar")
    torch.save(state, filename)
    if is_best:
        shutil.copyfile(filename, os.path.join(folder, "model_best.pth.tar"))


def main(argv=None):
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build().to(device)
    criterion = nn.CrossEntropyLoss().to(device)
    train_set, val_set = Spirals(96, 0), Spirals(48, 1)
    order = torch.utils.data.SubsetRandomSampler(range(len(train_set)))
    order = list(np.random.RandomState(2).permutation(len(list(order))))  # the same order for everyone
    train_loader = torch.utils.data.DataLoader(
        train_set, batch_size=args.batch_size, sampler=order, num_workers=args.workers, pin_memory=False, drop_last=True
    )
    val_loader = torch.utils.data.DataLoader(val_set, batch_size=32, shuffle=False, num_workers=args.workers)
    optimizer = make_optimizer(args, model)
    scheduler = make_scheduler(args, optimizer, len(train_loader))
    best_acc1, history = 0.0, []
    if args.resume:
        if os.path.isfile(args.resume):
            checkpoint = torch.load(args.resume, map_location=device)
            args.start_epoch = checkpoint["epoch"]
            best_acc1 = checkpoint["best_acc1"]
            history = checkpoint["history"]
            model.load_state_dict(checkpoint["state_dict"])
            optimizer.load_state_dict(checkpoint["optimizer"])
            scheduler.load_state_dict(checkpoint["scheduler"])
            print("=> goes on from '{}' (epoch {})".format(args.resume, checkpoint["epoch"]))
        else:
            print("=> no checkpoint at '{}'".format(args.resume))
    if args.evaluate:
        return validate(val_loader, model, criterion)
    for epoch in range(args.start_epoch, args.epochs):
        rates = [group["lr"] for group in optimizer.param_groups]
        train_loss = train(train_loader, model, criterion, optimizer, scheduler, epoch, args)
        acc1, val_loss = validate(val_loader, model, criterion)
        if args.schedule == "plateau":
            scheduler.step(val_loss)
        elif args.schedule != "one":
            scheduler.step()
        history.append([rates, train_loss, acc1, val_loss])
        is_best = acc1 > best_acc1
        best_acc1 = max(acc1, best_acc1)
        if args.folder:
            save_checkpoint(
                {
                    "epoch": epoch + 1,
                    "state_dict": model.state_dict(),
                    "best_acc1": best_acc1,
                    "optimizer": optimizer.state_dict(),
                    "scheduler": scheduler.state_dict(),
                    "history": history,
                },
                is_best,
                args.folder,
            )
    kept = [{k: v.item() if k == "step" else v for k, v in s.items()} for s in optimizer.state_dict()["state"].values()]
    return {"history": history, "best": best_acc1, "optimizer": kept}


if __name__ == "__main__":
    main()
