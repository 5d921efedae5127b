"""A variational autoencoder of images (Kingma and Welling, 2014): convolutional, with the sample's own noise."""

import torch
from torch import nn
from torch.nn import functional as F


class VAE(nn.Module):
    def __init__(self, in_channels=1, latent_dim=16, hidden_dims=(32, 64), size=28):
        super().__init__()
        modules = []
        channels = in_channels
        for h_dim in hidden_dims:
            modules.append(
                nn.Sequential(
                    nn.Conv2d(channels, out_channels=h_dim, kernel_size=3, stride=2, padding=1, bias=False),
                    nn.BatchNorm2d(h_dim),
                    nn.LeakyReLU(),
                )
            )
            channels = h_dim
        self.encoder = nn.Sequential(*modules)
        self.side = size // 2 ** len(hidden_dims)
        self.last = hidden_dims[-1]
        self.fc_mu = nn.Linear(self.last * self.side**2, latent_dim)
        self.fc_var = nn.Linear(self.last * self.side**2, latent_dim)
        self.decoder_input = nn.Linear(latent_dim, self.last * self.side**2)
        modules = []
        backwards = list(hidden_dims)[::-1]
        for i in range(len(backwards) - 1):
            modules.append(
                nn.Sequential(
                    nn.ConvTranspose2d(
                        backwards[i], backwards[i + 1], 3, stride=2, padding=1, output_padding=1, bias=False
                    ),
                    nn.BatchNorm2d(backwards[i + 1]),
                    nn.LeakyReLU(),
                )
            )
        self.decoder = nn.Sequential(*modules)
        self.final_layer = nn.Sequential(
            nn.ConvTranspose2d(backwards[-1], backwards[-1], 3, stride=2, padding=1, output_padding=1, bias=False),
            nn.BatchNorm2d(backwards[-1]),
            nn.LeakyReLU(),
            nn.Conv2d(backwards[-1], out_channels=in_channels, kernel_size=3, padding=1),
            nn.Sigmoid(),
        )

    def encode(self, input):
        result = self.encoder(input)
        result = torch.flatten(result, start_dim=1)
        return [self.fc_mu(result), self.fc_var(result)]

    def decode(self, z):
        result = self.decoder_input(z).view(-1, self.last, self.side, self.side)
        return self.final_layer(self.decoder(result))

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return eps.mul(std).add_(mu)

    def forward(self, input):
        mu, log_var = self.encode(input)
        z = self.reparameterize(mu, log_var)
        return [self.decode(z), mu, log_var]


def loss_function(recon_x, x, mu, logvar, weight=1.0):
    BCE = F.binary_cross_entropy(recon_x, x, reduction="sum")
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return BCE + weight * KLD


def build(toy=False):
    return VAE(latent_dim=3, hidden_dims=(4, 6), size=12) if toy else VAE()


def batch(draw, toy=False):
    n, side = (4, 12) if toy else (32, 28)
    return (draw.random((n, 1, side, side)),)


def loss(net, images):
    recon, mu, log_var = net(images)
    return loss_function(recon, images.detach(), mu, log_var, weight=0.5), [recon, mu, log_var]
