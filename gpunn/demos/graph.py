"""The computational graphs of linear, logistic and C-class regression and of a branching net, shapes on the edges.

A batch x of rows goes through z = W x + b and an activation, and a loss compares that with the truth. An arrow leads
from what is given to what is computed. Against it flows a derivative of the same shape, the sum over all ways to the
output: in the branching net, x + x · sigmoid(V x), three lead there from x. Labels of classes are whole numbers, which
have no derivative, and are not drawn. ``gpunn summary MODEL --graph FILE`` draws any model. (Lecture topic G2.)
"""

from collections import namedtuple

import gpunn
from gpunn import nn
from gpunn.nn import functional as F
from gpunn.plots.graph import draw_graphs

Result = namedtuple("Result", "graphs")  # by title


class Net(nn.Module):
    def __init__(self, outputs, formula, bias=True):
        super().__init__()
        self.layer, self.formula = nn.Linear(3, outputs, bias), formula

    def forward(self, x, truth=None):
        """What is computed with the layer."""
        return self.formula(self.layer, x, truth)


def run(*, seed=0, device="cpu", batch=8):
    gpunn.manual_seed(seed)
    x, truth = gpunn.randn(batch, 3, device=device), gpunn.zeros(batch, 1, device=device)
    labels = gpunn.zeros(batch, dtype="int64", device=device)
    linear = Net(1, lambda layer, x, truth: F.mse_loss(layer(x), truth))
    logistic = Net(1, lambda layer, x, truth: F.binary_cross_entropy(layer(x).sigmoid(), truth))
    classes = Net(4, lambda layer, x, labels: F.nll_loss(layer(x).softmax(1).log(), labels))
    branching = Net(3, lambda layer, x, _: x + x * layer(x).sigmoid(), bias=False)
    graphs = {
        "linear regression": nn.graph_of(linear.to(device), x, truth),
        "logistic regression": nn.graph_of(logistic.to(device), x, truth),
        "4-class regression": nn.graph_of(classes.to(device), x, labels),
        "a branching net": nn.graph_of(branching.to(device), x),
    }
    return Result(graphs)


def lines(r):
    return [f"{title}: {graph}" for title, graph in r.graphs.items()]


def draw(r):
    return draw_graphs(r.graphs)
