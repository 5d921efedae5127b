"""A generator and a discriminator that play against each other (Radford, Metz and Chintala, 2016)."""

import torch
import torch.nn as nn
import torch.optim as optim


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Conv") != -1:
        torch.nn.init.normal_(m.weight, 0.0, 0.02)
    elif classname.find("BatchNorm") != -1:
        m.weight.data.normal_(1.0, 0.02)
        m.bias.data.fill_(0)


class Generator(nn.Module):
    def __init__(self, nz, ngf, nc):
        super(Generator, self).__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf * 4, 4, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 4),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 4, ngf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 2, nc, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, input):
        return self.main(input)


class Discriminator(nn.Module):
    def __init__(self, ndf, nc):
        super(Discriminator, self).__init__()
        self.main = nn.Sequential(
            nn.Conv2d(nc, ndf, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf * 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 2, 1, 4, 1, 0, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, input):
        return self.main(input).view(-1, 1).squeeze(1)


class Both(nn.Module):
    def __init__(self, nz, width, nc=3):
        super().__init__()
        self.nz = nz
        self.netG = Generator(nz, width, nc)
        self.netD = Discriminator(width, nc)
        self.netG.apply(weights_init)
        self.netD.apply(weights_init)

    def forward(self, real, noise):
        fake = self.netG(noise)
        return self.netD(real), self.netD(fake.detach()), self.netD(fake), fake


def build(toy=False):
    return Both(5, 4) if toy else Both(100, 64)


def batch(draw, toy=False):
    n, nz = (4, 5) if toy else (16, 100)
    return draw.uniform(-1, 1, (n, 3, 16, 16)), draw.standard_normal((n, nz, 1, 1))


def loss(net, real, noise):
    criterion = nn.BCELoss()
    outputs = net(real, noise)
    ones, zeros = torch.ones_like(outputs[0]), torch.zeros_like(outputs[0])
    return criterion(outputs[0], ones) + criterion(outputs[1], zeros) + criterion(outputs[2], ones), outputs


def run(net, batch):
    """Three rounds: the discriminator learns from true and made images, then the generator from the discriminator."""
    netD, netG = net.netD, net.netG
    criterion = nn.BCELoss()
    optimizerD = optim.Adam(netD.parameters(), lr=2e-3, betas=(0.5, 0.999))
    optimizerG = optim.Adam(netG.parameters(), lr=2e-3, betas=(0.5, 0.999))
    told = []
    for _ in range(3):
        netD.zero_grad()
        real_cpu, noise = batch
        batch_size = real_cpu.size(0)
        label = torch.full((batch_size,), 1, dtype=real_cpu.dtype, device=real_cpu.device)
        errD_real = criterion(netD(real_cpu), label)
        errD_real.backward()
        fake = netG(noise)
        label.fill_(0)
        errD_fake = criterion(netD(fake.detach()), label)
        errD_fake.backward()
        errD = errD_real + errD_fake
        optimizerD.step()
        netG.zero_grad()
        label.fill_(1)
        output = netD(fake)
        errG = criterion(output, label)
        errG.backward()
        optimizerG.step()
        told.append((errD.item(), errG.item(), output.mean().item()))
    return {"told": told, "fake": netG(noise).detach(), "moments": [s["exp_avg"] for s in optimizerG.state.values()]}
