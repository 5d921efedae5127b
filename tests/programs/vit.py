"""A vision transformer written with einops (Dosovitskiy et al., 2021): patches, a class token, attention by einsum."""

import torch
import torch.nn.functional as F
from einops import rearrange, reduce, repeat
from einops.layers.torch import Rearrange
from torch import einsum, nn


def pair(t):
    return t if isinstance(t, tuple) else (t, t)


def exists(val):
    return val is not None


class FeedForward(nn.Module):
    def __init__(self, dim, hidden_dim, dropout=0.0):
        super().__init__()
        self.net = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, hidden_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, dim),
            nn.Dropout(dropout),
        )

    def forward(self, x):
        return self.net(x)


class Attention(nn.Module):
    def __init__(self, dim, heads=8, dim_head=64, dropout=0.0):
        super().__init__()
        inner_dim = dim_head * heads
        project_out = not (heads == 1 and dim_head == dim)
        self.heads = heads
        self.scale = dim_head**-0.5
        self.norm = nn.LayerNorm(dim)
        self.attend = nn.Softmax(dim=-1)
        self.dropout = nn.Dropout(dropout)
        self.to_qkv = nn.Linear(dim, inner_dim * 3, bias=False)
        self.temperature = nn.Parameter(torch.log(torch.tensor(self.scale)))
        self.to_out = nn.Sequential(nn.Linear(inner_dim, dim), nn.Dropout(dropout)) if project_out else nn.Identity()

    def forward(self, x, mask=None):
        x = self.norm(x)
        qkv = self.to_qkv(x).chunk(3, dim=-1)
        q, k, v = map(lambda t: rearrange(t, "b n (h d) -> b h n d", h=self.heads), qkv)
        dots = einsum("b h i d, b h j d -> b h i j", q, k) * self.temperature.exp()
        if exists(mask):
            mask = rearrange(mask, "b j -> b 1 1 j")
            dots = dots.masked_fill(~mask, -torch.finfo(dots.dtype).max)
        attn = self.dropout(self.attend(dots))
        out = torch.matmul(attn, v)
        return self.to_out(rearrange(out, "b h n d -> b n (h d)"))


class Transformer(nn.Module):
    def __init__(self, dim, depth, heads, dim_head, mlp_dim, dropout=0.0):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.layers = nn.ModuleList([])
        for _ in range(depth):
            self.layers.append(
                nn.ModuleList([Attention(dim, heads, dim_head, dropout), FeedForward(dim, mlp_dim, dropout)])
            )

    def forward(self, x, mask=None):
        for attn, ff in self.layers:
            x = attn(x, mask=mask) + x
            x = ff(x) + x
        return self.norm(x)


class ViT(nn.Module):
    def __init__(
        self, *, image_size, patch_size, num_classes, dim, depth, heads, mlp_dim, pool="cls", channels=3, dim_head=64,
        dropout=0.0, emb_dropout=0.0,
    ):  # fmt: skip
        super().__init__()
        image_height, image_width = pair(image_size)
        p1, p2 = pair(patch_size)
        assert image_height % p1 == 0 and image_width % p2 == 0, "the patches must fill the image"
        assert pool in {"cls", "mean"}
        num_patches = (image_height // p1) * (image_width // p2)
        patch_dim = channels * p1 * p2
        self.to_patch_embedding = nn.Sequential(
            Rearrange("b c (h p1) (w p2) -> b (h w) (p1 p2 c)", p1=p1, p2=p2),
            nn.LayerNorm(patch_dim),
            nn.Linear(patch_dim, dim),
            nn.LayerNorm(dim),
        )
        self.pos_embedding = nn.Parameter(torch.randn(1, num_patches + 1, dim))
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.dropout = nn.Dropout(emb_dropout)
        self.transformer = Transformer(dim, depth, heads, dim_head, mlp_dim, dropout)
        self.pool = pool
        self.to_latent = nn.Identity()
        self.mlp_head = nn.Linear(dim, num_classes)

    def forward(self, img, mask=None):
        x = self.to_patch_embedding(img)
        b, n, _ = x.shape
        cls_tokens = repeat(self.cls_token, "1 1 d -> b 1 d", b=b)
        x = torch.cat((cls_tokens, x), dim=1)
        x += self.pos_embedding[:, : (n + 1)]
        x = self.dropout(x)
        if exists(mask):
            mask = F.pad(mask, (1, 0), value=True)
        x = self.transformer(x, mask)
        x = reduce(x, "b n d -> b d", "mean") if self.pool == "mean" else x[:, 0]
        return self.mlp_head(self.to_latent(x))


class Both(nn.Module):
    """The two ways to pool, one of them with a mask of the patches."""

    def __init__(self, **sizes):
        super().__init__()
        self.cls = ViT(pool="cls", **sizes)
        self.mean = ViT(pool="mean", **sizes)

    def forward(self, img, mask):
        return self.cls(img, mask), self.mean(img)


def build(toy=False):
    if toy:
        return Both(image_size=(8, 12), patch_size=4, num_classes=5, dim=12, depth=2, heads=3, mlp_dim=16, dim_head=5)
    return Both(image_size=64, patch_size=8, num_classes=10, dim=128, depth=6, heads=8, mlp_dim=256, dim_head=32)


def batch(draw, toy=False):
    n, shape, patches = (3, (8, 12), 6) if toy else (8, (64, 64), 64)
    mask = draw.random((n, patches)) < 0.7
    return draw.standard_normal((n, 3, *shape)), mask, draw.integers(0, 5, n)


def loss(net, images, mask, labels):
    outputs = net(images, mask)
    return sum(F.cross_entropy(scores, labels, label_smoothing=0.1) for scores in outputs), outputs
