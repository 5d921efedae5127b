"""One network looks at pairs and triplets of images, and learns which are alike (Hadsell, Chopra and LeCun, 2006)."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class EmbeddingNet(nn.Module):
    def __init__(self, width=32, dim=16):
        super(EmbeddingNet, self).__init__()
        self.convnet = nn.Sequential(
            nn.Conv2d(1, width, 5), nn.PReLU(), nn.MaxPool2d(2, stride=2),
            nn.Conv2d(width, 2 * width, 3), nn.PReLU(), nn.MaxPool2d(2, stride=2),
        )  # fmt: skip
        self.fc = nn.Sequential(nn.Linear(2 * width * 3 * 3, 4 * width), nn.PReLU(), nn.Linear(4 * width, dim))

    def forward(self, x):
        output = self.convnet(x)
        output = output.view(output.size()[0], -1)
        return self.fc(output)

    def get_embedding(self, x):
        return F.normalize(self.forward(x), p=2, dim=1)


class ContrastiveLoss(nn.Module):
    def __init__(self, margin):
        super(ContrastiveLoss, self).__init__()
        self.margin = margin
        self.eps = 1e-9

    def forward(self, output1, output2, target, size_average=True):
        distances = (output2 - output1).pow(2).sum(1)
        losses = 0.5 * (
            target.to(output1.dtype) * distances
            + (1 + -1 * target).to(output1.dtype) * F.relu(self.margin - (distances + self.eps).sqrt()).pow(2)
        )
        return losses.mean() if size_average else losses.sum()


class TripletLoss(nn.Module):
    def __init__(self, margin):
        super(TripletLoss, self).__init__()
        self.margin = margin

    def forward(self, anchor, positive, negative):
        distance_positive = (anchor - positive).pow(2).sum(1)
        distance_negative = (anchor - negative).pow(2).sum(1)
        return F.relu(distance_positive - distance_negative + self.margin).mean()


class SiameseNet(nn.Module):
    def __init__(self, embedding_net):
        super(SiameseNet, self).__init__()
        self.embedding_net = embedding_net
        self.same_net = embedding_net  # under two names, and once among the parameters
        self.fc = nn.Sequential(nn.Linear(2 * embedding_net.fc[2].out_features, 8), nn.ReLU(inplace=True))
        self.score = nn.Linear(8, 1)
        self.fc.apply(self.init_weights)

    @staticmethod
    def init_weights(m):
        if isinstance(m, nn.Linear):
            torch.nn.init.xavier_uniform_(m.weight)
            m.bias.data.fill_(0.01)

    def forward(self, x1, x2, x3):
        first, second = self.embedding_net(x1), self.same_net(x2)
        third = self.embedding_net.get_embedding(x3)
        score = self.score(self.fc(torch.cat((first, second), 1)))
        return first, second, third, torch.sigmoid(score).view(-1)


def build(toy=False):
    return SiameseNet(EmbeddingNet(4, 6) if toy else EmbeddingNet())


def batch(draw, toy=False):
    n = 5 if toy else 32
    return (*draw.standard_normal((3, n, 1, 20, 20)), draw.integers(0, 2, n))


def loss(net, x1, x2, x3, target):
    first, second, third, score = outputs = net(x1, x2, x3)
    found = ContrastiveLoss(1.0)(first, second, target) + TripletLoss(1.0)(first, second, third)
    found = found + nn.TripletMarginLoss(margin=1.0, p=2)(first, second, third)
    found = found + nn.CosineEmbeddingLoss(margin=0.2)(second, third, 2 * target - 1)
    found = found + F.pairwise_distance(first, third, keepdim=True).mean()
    return found + F.binary_cross_entropy(score, target.to(score.dtype)), outputs
