"""Digits read row by row, from both ends, by long short-term memory (Hochreiter and Schmidhuber, 1997)."""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader


class LSTMClassifier(nn.Module):
    def __init__(self, input_size=28, hidden_size=128, num_layers=2, num_classes=10, dropout=0.2):
        super().__init__()
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.lstm = nn.LSTM(input_size, hidden_size, num_layers, batch_first=True, dropout=dropout, bidirectional=True)
        self.norm = nn.LayerNorm(hidden_size * 2)
        self.fc = nn.Linear(hidden_size * 2, num_classes)
        self.init_weights()

    def init_weights(self):
        for name, p in self.lstm.named_parameters():
            if "weight_hh" in name:
                nn.init.orthogonal_(p)
            elif "bias" in name:
                p.data.fill_(0)
                n = p.size(0)
                p.data[n // 4 : n // 2].fill_(0.5)

    def init_hidden(self, x):
        shape = (self.num_layers * 2, x.size(0), self.hidden_size)
        return torch.zeros(shape, dtype=x.dtype, device=x.device), torch.zeros(shape, dtype=x.dtype, device=x.device)

    def forward(self, x):
        self.lstm.flatten_parameters()
        out, (hn, cn) = self.lstm(x, self.init_hidden(x))
        last = torch.cat((hn[-2], hn[-1]), dim=1)
        return self.fc(self.norm(last + out.mean(dim=1))), cn


def train(args, model, device, loader, optimizer, epoch):
    model.train()
    total = 0.0
    for images, labels in loader:
        images, labels = images.squeeze(1).to(device), labels.to(device)
        optimizer.zero_grad()
        scores, _ = model(images)
        value = F.cross_entropy(scores, labels)
        value.backward()
        clip_grad_norm_(model.parameters(), args.clip)
        optimizer.step()
        total += value.item() * labels.size(0)
    print(f"epoch {epoch}: loss {total / len(loader.dataset):.4f}", flush=True)


@torch.no_grad()
def test(model, device, loader):
    model.eval()
    correct = 0
    for images, labels in loader:
        scores, _ = model(images.squeeze(1).to(device))
        _, predicted = torch.max(scores, 1)
        correct += (predicted == labels.to(device)).sum().item()
    print(f"test: {correct}/{len(loader.dataset)} correct", flush=True)
    return correct / len(loader.dataset)


def main(argv=None):
    parser = argparse.ArgumentParser(description="digits as sequences of rows")
    parser.add_argument("--data", default="data", help="folder of the data set")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)

    from torchvision import datasets, transforms

    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_set = datasets.MNIST(args.data, train=True, download=True, transform=transforms.ToTensor())
    test_set = datasets.MNIST(args.data, train=False, transform=transforms.ToTensor())
    train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=1000)
    columns = train_set[0][0].size(-1)
    model = LSTMClassifier(columns, args.hidden, args.layers).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    accuracy = 0.0
    for epoch in range(1, args.epochs + 1):
        train(args, model, device, train_loader, optimizer, epoch)
        accuracy = test(model, device, test_loader)
    return accuracy


def build(toy=False):
    return LSTMClassifier(6, 5, 2, dropout=0.0) if toy else LSTMClassifier(dropout=0.0)


def batch(draw, toy=False):
    shape = (3, 4, 6) if toy else (64, 28, 28)
    return draw.standard_normal(shape), draw.integers(0, 10, shape[0])


def loss(net, x, labels):
    scores, cn = net(x)
    return F.cross_entropy(scores, labels), (scores, cn)


if __name__ == "__main__":
    main()
