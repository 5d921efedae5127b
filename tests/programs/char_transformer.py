"""A language model of characters on PyTorch's own encoder of transformers, trained on stretches of one text."""

import math
import time

import torch
from torch import nn
from torch.nn import TransformerEncoder, TransformerEncoderLayer

TEXT = "a cat sat on a mat and a rat sat on a cat and that was that, said the fat cat to the rat at last. " * 3
CHARS = sorted(set(TEXT))


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, dropout=0.1, max_len=200):
        super().__init__()
        self.dropout = nn.Dropout(p=dropout)
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, 1, d_model)
        pe[:, 0, 0::2] = torch.sin(position * div_term)
        pe[:, 0, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe)

    def forward(self, x):
        return self.dropout(x + self.pe[: x.size(0)])


class TransformerModel(nn.Module):
    def __init__(self, ntoken, d_model, nhead, d_hid, nlayers, dropout=0.5):
        super().__init__()
        self.model_type = "Transformer"
        self.pos_encoder = PositionalEncoding(d_model, dropout)
        encoder_layers = TransformerEncoderLayer(d_model, nhead, d_hid, dropout)
        self.transformer_encoder = TransformerEncoder(encoder_layers, nlayers, enable_nested_tensor=False)
        self.embedding = nn.Embedding(ntoken, d_model)
        self.d_model = d_model
        self.linear = nn.Linear(d_model, ntoken)
        self.init_weights()

    def init_weights(self):
        initrange = 0.1
        self.embedding.weight.data.uniform_(-initrange, initrange)
        self.linear.bias.data.zero_()
        self.linear.weight.data.uniform_(-initrange, initrange)

    def forward(self, src, src_mask):
        src = self.embedding(src) * math.sqrt(self.d_model)
        src = self.pos_encoder(src)
        return self.linear(self.transformer_encoder(src, src_mask))


def generate_square_subsequent_mask(sz):
    return torch.triu(torch.ones(sz, sz) * float("-inf"), diagonal=1)


def batchify(data, bsz):
    seq_len = data.size(0) // bsz
    return data[: seq_len * bsz].view(bsz, seq_len).t().contiguous()


def get_batch(source, i, bptt):
    seq_len = min(bptt, len(source) - 1 - i)
    return source[i : i + seq_len], source[i + 1 : i + 1 + seq_len].reshape(-1)


def evaluate(model, eval_data, bptt, criterion):
    model.eval()
    total_loss = 0.0
    src_mask = generate_square_subsequent_mask(bptt)
    with torch.no_grad():
        for i in range(0, eval_data.size(0) - 1, bptt):
            data, targets = get_batch(eval_data, i, bptt)
            batch_size = data.size(0)
            if batch_size != bptt:
                src_mask = src_mask[:batch_size, :batch_size]
            output = model(data, src_mask)
            total_loss += batch_size * criterion(output.view(-1, len(CHARS)), targets).item()
    return total_loss / (len(eval_data) - 1)


def build(toy=False):
    return (
        TransformerModel(len(CHARS), 12, 3, 20, 2, dropout=0.0)
        if toy
        else TransformerModel(len(CHARS), 200, 2, 200, 2, 0.2)
    )


def batch(draw, toy=False):
    return draw.integers(0, len(CHARS), (9, 4)), draw.integers(0, len(CHARS), (9, 4))


def loss(net, data, targets):
    output = net(data, generate_square_subsequent_mask(data.size(0)).to(net.linear.weight))
    return nn.CrossEntropyLoss()(output.view(-1, len(CHARS)), targets.reshape(-1)), output


def run(net, batch):
    data = torch.tensor([CHARS.index(c) for c in TEXT], dtype=torch.long)
    train_data, val_data = batchify(data[:220], 4), batchify(data[220:], 2)
    bptt, told = 16, []
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1.0, gamma=0.95)
    for _ in range(2):
        net.train()
        start_time = time.time()
        src_mask = generate_square_subsequent_mask(bptt)
        for i in range(0, train_data.size(0) - 1, bptt):
            source, targets = get_batch(train_data, i, bptt)
            if source.size(0) != bptt:
                src_mask = src_mask[: source.size(0), : source.size(0)]
            output = net(source, src_mask)
            found = criterion(output.view(-1, len(CHARS)), targets)
            optimizer.zero_grad()
            found.backward()
            norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            optimizer.step()
            told.append((found.item(), norm.item()))
        assert time.time() >= start_time
        told.append((evaluate(net, val_data, 10, criterion), scheduler.get_last_lr()[0]))
        scheduler.step()
    net.eval()
    text = "a cat "
    with torch.no_grad():
        for _ in range(8):
            source = torch.tensor([[CHARS.index(c)] for c in text])
            word_weights = net(source, generate_square_subsequent_mask(len(text)))[-1].squeeze().div(0.8).exp()
            text += CHARS[torch.multinomial(word_weights, 1)[0]]
    return {"told": told, "text": text}
