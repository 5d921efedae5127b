"""Handwritten digits by a convolutional network: a PyTorch program with options, a schedule and checkpoints."""

import argparse
import os

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader
from torchvision import datasets, transforms


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, kernel_size=3)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3)
        self.drop = nn.Dropout(0.25)
        self.hidden = nn.Linear(64 * 12 * 12, 128)
        self.scores = nn.Linear(128, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = self.drop(F.max_pool2d(x, 2))
        x = torch.flatten(x, 1)
        x = F.dropout(F.relu(self.hidden(x)), p=0.5, training=self.training)
        return F.log_softmax(self.scores(x), dim=1)


def train(args, model, device, loader, optimizer, epoch):
    model.train()
    for number, (images, labels) in enumerate(loader):
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        loss = F.nll_loss(model(images), labels)
        loss.backward()
        optimizer.step()
        if number % args.log_interval == 0:
            seen = number * len(images)
            share = 100.0 * number / len(loader)
            print(f"epoch {epoch}: {seen}/{len(loader.dataset)} ({share:.0f} %) loss {loss.item():.4f}", flush=True)
        if args.dry_run:
            break


def test(model, device, loader):
    model.eval()
    loss, correct = 0.0, 0
    with torch.no_grad():
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            output = model(images)
            loss += F.nll_loss(output, labels, reduction="sum").item()
            guess = output.argmax(dim=1, keepdim=True)
            correct += guess.eq(labels.view_as(guess)).sum().item()
    total = len(loader.dataset)
    print(f"test: loss {loss / total:.4f}, correct {correct}/{total} ({100.0 * correct / total:.2f} %)", flush=True)
    return correct / total


def main(argv=None):
    parser = argparse.ArgumentParser(description="digits in the manner of PyTorch's examples")
    parser.add_argument("--data", default="data", help="folder of the data set")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--test-batch-size", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--gamma", type=float, default=0.7, help="factor of the learning rate after each epoch")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--no-cuda", action="store_true")
    parser.add_argument("--dry-run", action="store_true", help="one step an epoch")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log-interval", type=int, default=100)
    parser.add_argument("--checkpoint", default="", help="file to save to after each epoch, and to go on from")
    args = parser.parse_args(argv)

    torch.manual_seed(args.seed)
    use_cuda = not args.no_cuda and torch.cuda.is_available()
    device = torch.device("cuda" if use_cuda else "cpu")
    options = {"num_workers": args.workers, "pin_memory": use_cuda}

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    train_set = datasets.MNIST(args.data, train=True, download=True, transform=transform)
    test_set = datasets.MNIST(args.data, train=False, transform=transform)
    train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True, **options)
    test_loader = DataLoader(test_set, batch_size=args.test_batch_size, **options)

    model = Net().to(device)
    optimizer = optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=1e-4)
    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)
    first = 1
    if args.checkpoint and os.path.exists(args.checkpoint):
        kept = torch.load(args.checkpoint, map_location=device)
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        scheduler.load_state_dict(kept["scheduler"])
        first = kept["epoch"] + 1
        print(f"goes on with epoch {first}, learning rate {scheduler.get_last_lr()[0]:g}")

    accuracy = 0.0
    for epoch in range(first, args.epochs + 1):
        train(args, model, device, train_loader, optimizer, epoch)
        accuracy = test(model, device, test_loader)
        scheduler.step()
        if args.checkpoint:
            state = {"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
            state["scheduler"] = scheduler.state_dict()
            torch.save(state, args.checkpoint)
    return accuracy


if __name__ == "__main__":
    main()
