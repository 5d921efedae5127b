"""Characters guessed one after the other by gated recurrent units, and names classified step by step by cells."""

import torch
import torch.nn as nn


class CharRNN(nn.Module):
    def __init__(self, vocab_size, embed_size=32, hidden_size=64, num_layers=2, kind="gru"):
        super(CharRNN, self).__init__()
        self.encoder = nn.Embedding(vocab_size, embed_size)
        if kind == "gru":
            self.rnn = nn.GRU(embed_size, hidden_size, num_layers)
        else:
            self.rnn = nn.RNN(embed_size, hidden_size, num_layers, nonlinearity=kind)
        self.decoder = nn.Linear(hidden_size, vocab_size)
        self.cell = nn.LSTMCell(embed_size, hidden_size)
        self.label = nn.Linear(hidden_size, 3)
        self.init_weights()

    def init_weights(self):
        bound = 0.1
        self.encoder.weight.data.uniform_(-bound, bound)
        self.decoder.bias.data.zero_()
        self.decoder.weight.data.uniform_(-bound, bound)

    def init_hidden(self, n):
        weight = next(self.parameters())
        return weight.new_zeros(self.rnn.num_layers, n, self.rnn.hidden_size)

    def forward(self, text):
        hidden = self.init_hidden(text.size(1))
        embedded = self.encoder(text)
        output, hidden = self.rnn(embedded, hidden)
        decoded = self.decoder(output.reshape(-1, output.size(2)))
        h = c = weight = None
        for step in range(embedded.size(0)):
            h, c = self.cell(embedded[step], None if h is None else (h, c))
            weight = h if weight is None else torch.maximum(weight, h)
        return decoded.view(text.size(0), text.size(1), -1), hidden, self.label(weight)


def build(toy=False):
    return CharRNN(11, 4, 6, 2) if toy else CharRNN(100)


def batch(draw, toy=False):
    shape = (5, 3) if toy else (50, 32)
    return draw.integers(0, 11, shape), draw.integers(0, 3, shape[1])


def loss(net, text, labels):
    criterion = nn.CrossEntropyLoss()
    decoded, hidden, scores = net(text)
    guess = criterion(decoded[:-1].reshape(-1, decoded.size(2)), text[1:].reshape(-1))
    return guess + criterion(scores, labels), (decoded, hidden, scores)
