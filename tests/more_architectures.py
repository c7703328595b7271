"""More networks with known parameter symmetries, as researchers write them.

The lists were derived by hand before the search was run on these networks; where both were right and differed in the
choice of generators, the list now has those of the search. The form is that of :mod:`tests.architectures`.

A few that are easily missed. A spectral norm in evaluation is odd in the weight, so the whole weight may change its
sign; its vectors move along when rows are permuted. Factorisation machines, radial bases and codebooks depend on the
latent vectors through distances or products alone, so these may be rotated together. With normalised queries and keys
and gains that the heads share, a coordinate of one head changes its sign in query and key, a coordinate of all heads in
query and gain of the key. Neighbouring channels of a local response normalisation must stay neighbours: there is no
permutation.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from tests.architectures import Case


class InvertedResidual(nn.Module):
    """MobileNetV2: widen, filter each channel, narrow, add."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.expand, self.n1 = nn.Conv2d(4, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.dw, self.n2 = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8)
        self.project, self.n3 = nn.Conv2d(8, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        h = functional.relu6(self.n1(self.expand(x)))
        h = functional.relu6(self.n2(self.dw(h)))
        return self.fc(functional.adaptive_avg_pool2d(x + self.n3(self.project(h)), 1).flatten(1))


class DenseBlock(nn.Module):
    """DenseNet: every layer sees all earlier ones."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1, bias=False)
        self.n1, self.c1 = nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3, padding=1, bias=False)
        self.n2, self.c2 = nn.BatchNorm2d(6), nn.Conv2d(6, 3, 3, padding=1, bias=False)
        self.n3, self.out = nn.BatchNorm2d(9), nn.Conv2d(9, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([x, self.c1(torch.relu(self.n1(x)))], 1)
        x = torch.cat([x, self.c2(torch.relu(self.n2(x)))], 1)
        return self.out(functional.avg_pool2d(torch.relu(self.n3(x)), 2))


class RMSNorm(nn.Module):
    """LLaMA's, written out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


def rotate(x: Tensor) -> Tensor:
    """Rotary positions on halves of the last axis; axis -2 counts positions."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2])[:, None] * 10.0 ** -torch.arange(half)
    cos, sin = torch.cat([angle.cos()] * 2, -1).to(x.dtype), torch.cat([angle.sin()] * 2, -1).to(x.dtype)
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


class Llama(nn.Module):
    """One block: RMSNorm, rotary positions, grouped queries, SwiGLU."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 6)
        self.n1 = RMSNorm(6)
        self.q, self.k = nn.Linear(6, 16, bias=False), nn.Linear(6, 8, bias=False)
        self.v, self.o = nn.Linear(6, 8, bias=False), nn.Linear(16, 6, bias=False)
        self.n2 = RMSNorm(6)
        self.gate, self.up = nn.Linear(6, 5, bias=False), nn.Linear(6, 5, bias=False)
        self.down = nn.Linear(5, 6, bias=False)
        self.nf, self.head = RMSNorm(6), nn.Linear(6, 7, bias=False)

    def attend(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q = rotate(self.q(x).view(b, t, 4, 4).transpose(1, 2))
        k = rotate(self.k(x).view(b, t, 2, 4).transpose(1, 2)).repeat_interleave(2, 1)
        v = self.v(x).view(b, t, 2, 4).transpose(1, 2).repeat_interleave(2, 1)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(y.transpose(1, 2).reshape(b, t, 16))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        x = x + self.attend(self.n1(x))
        h = self.n2(x)
        x = x + self.down(functional.silu(self.gate(h)) * self.up(h))
        return self.head(self.nf(x))


class T5(nn.Module):
    """Unscaled attention with a table of relative positions, then a feed-forward layer."""

    def __init__(self) -> None:
        super().__init__()
        self.n1, self.n2 = RMSNorm(6), RMSNorm(6)
        self.q, self.k, self.v = (nn.Linear(6, 6, bias=False) for _ in range(3))
        self.o = nn.Linear(6, 6, bias=False)
        self.relative = nn.Embedding(5, 2)
        self.wi, self.wo = nn.Linear(6, 5, bias=False), nn.Linear(5, 6, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        h = self.n1(x)
        q, k, v = (f(h).view(b, t, 2, 3).transpose(1, 2) for f in (self.q, self.k, self.v))
        steps = torch.arange(t)
        table = self.relative((steps[None, :] - steps[:, None]).clamp(-2, 2) + 2).permute(2, 0, 1)
        weights = torch.softmax(q @ k.transpose(-1, -2) + table, -1)
        x = x + self.o((weights @ v).transpose(1, 2).reshape(b, t, 6))
        return x + self.wo(torch.relu(self.wi(self.n2(x))))


class CrossAttention(nn.Module):
    """A stream that attends to a memory of another width."""

    def __init__(self) -> None:
        super().__init__()
        self.memory, self.stream = nn.Linear(3, 5), nn.Linear(2, 6)
        self.attn = nn.MultiheadAttention(6, 2, kdim=5, vdim=5, batch_first=True)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        memory, y = self.memory(x[..., :3]), self.stream(x[..., 3:])
        return self.head(y + self.attn(y, memory, memory, need_weights=False)[0])


class Perceiver(nn.Module):
    """Learned latents ask the inputs; the answers are pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(4, 6))
        self.q, self.k = nn.Linear(6, 3, bias=False), nn.Linear(2, 3, bias=False)
        self.v = nn.Linear(2, 5, bias=False)
        self.a, self.b = nn.Linear(5, 7), nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.q(self.latents) @ self.k(x).mT / math.sqrt(3)
        z = torch.softmax(scores, -1) @ self.v(x)
        return self.b(functional.gelu(self.a(z))).mean(1)


class DecoderLayer(nn.Module):
    """PyTorch's decoder layer on a target and a memory."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(6, 2, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x[..., :6], x[..., 6:])


class BilinearFusion(nn.Module):
    """Two inputs meet in a bilinear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(2, 3), nn.Linear(2, 4)
        self.mix, self.head = nn.Bilinear(3, 4, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mix(self.a(x[:, :2]), self.b(x[:, 2:])))


class FiLM(nn.Module):
    """A condition scales and shifts the features."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.film, self.out = nn.Linear(3, 5), nn.Linear(2, 10), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        gamma, beta = self.film(x[:, 3:]).chunk(2, -1)
        return self.out(torch.relu(gamma * self.a(x[:, :3]) + beta))


class HyperNetwork(nn.Module):
    """A network that writes the weights of another."""

    def __init__(self) -> None:
        super().__init__()
        self.h1, self.h2, self.out = nn.Linear(2, 4), nn.Linear(4, 15), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.h2(torch.relu(self.h1(x[:, 3:]))).view(-1, 5, 3)
        return self.out(torch.tanh(torch.bmm(weight, x[:, :3, None]).squeeze(-1)))


class DeepONet(nn.Module):
    """A branch for the function, a trunk for the place, one product."""

    def __init__(self) -> None:
        super().__init__()
        self.b1, self.b2 = nn.Linear(3, 4), nn.Linear(4, 5)
        self.t1, self.t2 = nn.Linear(2, 4), nn.Linear(4, 5)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        branch = self.b2(torch.tanh(self.b1(x[:, :3])))
        return (branch * self.t2(torch.tanh(self.t1(x[:, 3:])))).sum(-1) + self.bias


class Siren(nn.Module):
    """Sines all the way."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(2, 5), nn.Linear(5, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.sin(3.0 * self.b(torch.sin(3.0 * self.a(x)))))


class FourierFeatures(nn.Module):
    """Trained frequencies, then a small network."""

    def __init__(self) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(4, 2))
        self.a, self.b = nn.Linear(8, 5), nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        phase = 2 * math.pi * x @ self.frequencies.T
        return self.b(torch.relu(self.a(torch.cat([phase.sin(), phase.cos()], -1))))


class RadialBasis(nn.Module):
    """Distances of an embedding to centres."""

    def __init__(self) -> None:
        super().__init__()
        self.centres, self.log_beta = nn.Parameter(torch.randn(5, 4)), nn.Parameter(torch.zeros(5))
        self.embed, self.out = nn.Linear(3, 4), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        distances = (self.embed(x)[:, None, :] - self.centres).pow(2).sum(-1)
        return self.out(torch.exp(-self.log_beta.exp() * distances))


class Maxout(nn.Module):
    """The largest of two pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 8), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).view(-1, 4, 2).amax(-1))


class Highway(nn.Module):
    """A gate between a layer and the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.h, self.t, self.head = nn.Linear(3, 5), nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        gate = torch.sigmoid(self.t(x))
        return self.head(gate * torch.relu(self.h(x)) + (1 - gate) * x)


class LoRA(nn.Module):
    """A frozen layer with a trained update of low rank."""

    def __init__(self, inputs: int, outputs: int, rank: int = 2) -> None:
        super().__init__()
        self.base = nn.Linear(inputs, outputs).requires_grad_(False)
        self.a, self.b = nn.Parameter(torch.randn(rank, inputs)), nn.Parameter(torch.randn(outputs, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + 0.5 * (x @ self.a.T @ self.b.T)


class Albert(nn.Module):
    """A factorised embedding, and one block used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.proj, self.ne = nn.Embedding(7, 4), nn.Linear(4, 6, bias=False), nn.LayerNorm(6)
        self.qkv, self.o, self.n1 = nn.Linear(6, 18, bias=False), nn.Linear(6, 6), nn.LayerNorm(6)
        self.up, self.down, self.n2 = nn.Linear(6, 5), nn.Linear(5, 6), nn.LayerNorm(6)
        self.head = nn.Linear(6, 3)

    def block(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, 2, 3).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, 6)
        x = self.n1(x + self.o(y))
        return self.n2(x + self.down(functional.gelu(self.up(x))))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.ne(self.proj(self.embed(ids)))
        return self.head(self.block(self.block(x))[:, 0])


class GraphConvolution(nn.Module):
    """Two rounds of messages on a fixed graph."""

    adjacency: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("adjacency", torch.tensor([[2.0, 1, 0, 1], [1, 2, 1, 0], [0, 1, 3, 1], [1, 0, 1, 1]]) / 4)
        self.a, self.b = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.adjacency @ self.b(torch.relu(self.adjacency @ self.a(x)))


class GraphAttention(nn.Module):
    """Messages weighted by additive attention over neighbours."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.tensor([[1, 1, 0, 1], [1, 1, 1, 0], [0, 1, 1, 1], [1, 0, 1, 1]]) == 0)
        self.source, self.target = nn.Parameter(torch.randn(5)), nn.Parameter(torch.randn(5))
        self.w, self.out = nn.Linear(3, 5, bias=False), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.w(x)
        scores = functional.leaky_relu((h @ self.source)[:, :, None] + (h @ self.target)[:, None, :], 0.2)
        weights = torch.softmax(scores.masked_fill(self.mask, float("-inf")), -1)
        return self.out(torch.relu(weights @ h))


class Generator(nn.Module):
    """From a code to an image, by transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 16)
        self.up1, self.n = nn.ConvTranspose2d(4, 5, 2, 2), nn.BatchNorm2d(5)
        self.up2 = nn.ConvTranspose2d(5, 2, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.fc(x)).view(-1, 4, 2, 2)
        return torch.tanh(self.up2(torch.relu(self.n(self.up1(h)))))


class BothWays(nn.Module):
    """Two layers of LSTM in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(2, 3, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0])


class GRUByHand(nn.Module):
    """Gates as linear layers on the joined input and state."""

    def __init__(self) -> None:
        super().__init__()
        self.wz, self.wr, self.wn, self.head = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(x.shape[0], 4)
        for step in x.unbind(1):
            joined = torch.cat([step, h], -1)
            z, r = torch.sigmoid(self.wz(joined)), torch.sigmoid(self.wr(joined))
            h = (1 - z) * h + z * torch.tanh(self.wn(torch.cat([step, r * h], -1)))
        return self.head(h)


class CellLoop(nn.Module):
    """PyTorch's GRU cell in a loop, from a learned state."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(4))
        self.cell, self.head = nn.GRUCell(2, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.start.expand(x.shape[0], -1)
        for step in x.unbind(1):
            h = self.cell(step, h)
        return self.head(h)


class Mamba(nn.Module):
    """A gated selective scan, written as a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.a_log, self.d = nn.Parameter(torch.rand(4, 3)), nn.Parameter(torch.ones(4))
        self.inner = nn.Linear(3, 8, bias=False)
        self.conv = nn.Conv1d(4, 4, 2, padding=1, groups=4)
        self.dt_low, self.dt = nn.Linear(4, 2, bias=False), nn.Linear(2, 4)
        self.write, self.read = nn.Linear(4, 3, bias=False), nn.Linear(4, 3, bias=False)
        self.out = nn.Linear(4, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        t = x.shape[1]
        u, z = self.inner(x).chunk(2, -1)
        u = functional.silu(self.conv(u.transpose(1, 2))[..., :t].transpose(1, 2))
        delta = functional.softplus(self.dt(self.dt_low(u)))
        write, read = self.write(u), self.read(u)
        decay = torch.exp(delta[..., None] * -torch.exp(self.a_log))
        h, ys = x.new_zeros(x.shape[0], 4, 3), []
        for i in range(t):
            h = decay[:, i] * h + (delta[:, i] * u[:, i])[..., None] * write[:, i, None, :]
            ys.append((h * read[:, i, None, :]).sum(-1))
        return self.out((torch.stack(ys, 1) + self.d * u) * functional.silu(z))


class NTK(nn.Module):
    """Standard normal weights, scaled in the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.w1, self.w2, self.w3 = (nn.Parameter(torch.randn(s)) for s in ((5, 3), (4, 5), (2, 4)))
        self.b1 = nn.Parameter(torch.randn(5))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(x @ self.w1.T / math.sqrt(3) + 0.1 * self.b1)
        return torch.tanh(h @ self.w2.T / math.sqrt(5)) @ self.w3.T / math.sqrt(4)


class TwinCritics(nn.Module):
    """The smaller of two values, from a shared trunk (TD3, SAC)."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(3, 4)
        self.q1 = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1))
        self.q2 = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.trunk(x))
        return torch.minimum(self.q1(h), self.q2(h))


class Duelling(nn.Module):
    """Value plus centred advantages."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(3, 5)
        self.value = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1))
        self.advantage = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.trunk(x))
        a = self.advantage(h)
        return self.value(h) + a - a.mean(-1, keepdim=True)


class Coupling(nn.Module):
    """Two affine coupling layers of a normalising flow; returns the image and the log-determinant."""

    def __init__(self) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 4)) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = x.chunk(2, -1)
        total = x.new_zeros(x.shape[0])
        for net in self.nets:
            s, t = net(a).chunk(2, -1)
            s = torch.tanh(s)
            a, b, total = b * s.exp() + t, a, total + s.sum(-1)
        return torch.cat([a, b], -1), total


class MixtureDensity(nn.Module):
    """Log-likelihood of a mixture of Gaussians."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(2, 5)
        self.pi, self.mu, self.log_sigma = nn.Linear(5, 3), nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.a(x[:, :2]))
        log_sigma = self.log_sigma(h)
        z = (x[:, 2:] - self.mu(h)) * torch.exp(-log_sigma)
        return torch.logsumexp(torch.log_softmax(self.pi(h), -1) - 0.5 * z * z - log_sigma, -1)


class Codebook(nn.Module):
    """The nearest vector of a codebook, straight through."""

    def __init__(self) -> None:
        super().__init__()
        self.enc, self.codes, self.dec = nn.Linear(3, 4), nn.Embedding(6, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        z = self.enc(x)
        distances = (z[:, None, :] - self.codes.weight).pow(2).sum(-1)
        q = self.codes(distances.argmin(-1))
        return self.dec(z + (q - z).detach())


class Contrastive(nn.Module):
    """Two towers, normalised, with a temperature (CLIP)."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.image = nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Linear(5, 4, bias=False))
        self.text = nn.Linear(2, 4)

    def forward(self, x: Tensor) -> Tensor:
        a = functional.normalize(self.image(x[:, :3]), dim=-1)
        b = functional.normalize(self.text(x[:, 3:]), dim=-1)
        return self.log_scale.exp() * a @ b.T


class TwoTowers(nn.Module):
    """Matrix factorisation with offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(7, 4), nn.Embedding(7, 4)
        self.user_offset, self.item_offset = nn.Embedding(7, 1), nn.Embedding(7, 1)

    def forward(self, ids: Tensor) -> Tensor:
        u, i = ids.unbind(-1)
        return (self.user(u) * self.item(i)).sum(-1) + (self.user_offset(u) + self.item_offset(i)).squeeze(-1)


class CosineClassifier(nn.Module):
    """Directions of classes against directions of features (CosFace)."""

    def __init__(self) -> None:
        super().__init__()
        self.classes = nn.Parameter(torch.randn(3, 4))
        self.a, self.b = nn.Linear(3, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.b(torch.relu(self.a(x)))
        return 16.0 * functional.linear(functional.normalize(h), functional.normalize(self.classes))


class GatedPooling(nn.Module):
    """Multiple instances, pooled by gated attention."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.v, self.u = nn.Linear(3, 6), nn.Linear(6, 5), nn.Linear(6, 5)
        self.w, self.out = nn.Linear(5, 1, bias=False), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.embed(x))
        weights = torch.softmax(self.w(torch.tanh(self.v(h)) * torch.sigmoid(self.u(h))), 1)
        return self.out((weights * h).sum(1))


class LinearAttention(nn.Module):
    """Attention with the feature map elu + 1."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(*s, bias=False) for s in ((3, 6), (3, 6), (3, 6), (6, 2)))

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q, k, v = (f(x).view(b, t, 2, 3) for f in (self.q, self.k, self.v))
        q, k = functional.elu(q) + 1, functional.elu(k) + 1
        y = torch.einsum("bthd,bhde->bthe", q, torch.einsum("bshd,bshe->bhde", k, v))
        y = y / torch.einsum("bthd,bhd->bth", q, k.sum(1))[..., None]
        return self.o(y.reshape(b, t, 6))


class NeuralODE(nn.Module):
    """Four Euler steps with one field."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.l1, self.l2, self.head = nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for _ in range(4):
            h = h + 0.25 * self.l2(torch.tanh(self.l1(h)))
        return self.head(h)


class Powers(nn.Module):
    """Squares, then squared ReLUs, then cosines."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(3, 5), nn.Linear(5, 4), nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.d(torch.cos(self.c(torch.relu(self.b(self.a(x).pow(2))).square())))


class ConcatenatedReLU(nn.Module):
    """Both parts of every unit."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 5), nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        return self.b(torch.cat([torch.relu(h), torch.relu(-h)], -1))


class QKNorm(nn.Module):
    """Attention with normalised queries and keys; the heads share their gains."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(*s, bias=False) for s in ((5, 6), (5, 6), (5, 6), (6, 2)))
        self.qn, self.kn = RMSNorm(3), RMSNorm(3)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q, k, v = (f(x).view(b, t, 2, 3).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = functional.scaled_dot_product_attention(self.qn(q), self.kn(k), v)
        return self.o(y.transpose(1, 2).reshape(b, t, 6))


class TopK(nn.Module):
    """A sparse mixture: the two best experts of four."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(3, 4, bias=False)
        self.w1, self.w2 = nn.Parameter(torch.randn(4, 3, 5)), nn.Parameter(torch.randn(4, 5, 2))

    def forward(self, x: Tensor) -> Tensor:
        scores = self.gate(x)
        values, places = scores.topk(2, dim=-1)
        weights = torch.zeros_like(scores).scatter(-1, places, torch.softmax(values, -1))
        y = torch.einsum("ebh,eho->beo", torch.relu(torch.einsum("bi,eih->ebh", x, self.w1)), self.w2)
        return (weights[..., None] * y).sum(1)


class DiffusionBlock(nn.Module):
    """A time embedding added to the channels, then group normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.time, self.stem = nn.Linear(3, 4), nn.Conv2d(2, 4, 3, padding=1)
        self.n, self.out = nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        t = x[:, 2].mean((1, 2))
        added = self.time(functional.silu(torch.stack([t.sin(), t.cos(), t], -1)))
        h = self.stem(x[:, :2]) + added[:, :, None, None]
        return self.out(functional.silu(self.n(h)))


class FactorisationMachine(nn.Module):
    """All products of two inputs, weighted by products of latent vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.v, self.linear = nn.Parameter(torch.randn(3, 4)), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        pairs = (x @ self.v).pow(2) - x.pow(2) @ self.v.pow(2)
        return self.linear(x) + 0.5 * pairs.sum(-1, keepdim=True)


class FourierOperator(nn.Module):
    """One layer of a Fourier neural operator on a line."""

    def __init__(self) -> None:
        super().__init__()
        self.spectral = nn.Parameter(torch.randn(4, 5, 3, 2))
        self.lift, self.skip, self.head = nn.Linear(1, 4), nn.Linear(4, 5), nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        u = self.lift(x)
        modes = torch.einsum("bmi,iom->bmo", torch.fft.rfft(u, dim=1)[:, :3], torch.view_as_complex(self.spectral))
        return self.head(functional.gelu(torch.fft.irfft(modes, n=x.shape[1], dim=1) + self.skip(u)))


class SoftmaxEnergy(nn.Module):
    """Logits over a temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))
        self.a, self.b = nn.Linear(3, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.b(torch.tanh(self.a(x))) / self.temperature, -1)


class FourierOperatorInPlace(nn.Module):
    """The same on a plane, with complex weights and kept frequencies written into zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.spectral = nn.Parameter(torch.randn(4, 5, 3, 3, dtype=torch.cfloat))
        self.lift, self.skip, self.head = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 5, 1), nn.Conv2d(5, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        u = self.lift(x)
        modes = torch.zeros(x.shape[0], 5, 6, 4, dtype=torch.cfloat)
        modes[:, :, :3, :3] = torch.einsum("bixy,ioxy->boxy", torch.fft.rfft2(u)[:, :, :3, :3], self.spectral)
        return self.head(functional.gelu(torch.fft.irfft2(modes, s=(6, 6)) + self.skip(u)))


class HighFloor(nn.Module):
    """A floor below the length that is no mere guard: rotations stay, scale invariance does not."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.out = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(functional.normalize(self.a(x), dim=-1, eps=0.5))


class GroupSort(nn.Module):
    """Pairs in order, the activation of Lipschitz networks."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).view(-1, 4, 2).sort(-1).values.flatten(1))


class SortPooling(nn.Module):
    """All features in order."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.sort(self.a(x), dim=-1)[0])


class Switch(nn.Module):
    """One expert for each input, looked up by number."""

    def __init__(self) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Parameter(torch.randn(4, 3, 5)), nn.Parameter(torch.randn(4, 5, 2))
        self.gate = nn.Linear(3, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        probabilities = torch.softmax(self.gate(x), -1)
        best = probabilities.argmax(-1)
        weight = probabilities.gather(-1, best[:, None])
        h = torch.relu(torch.bmm(x[:, None, :], self.w1[best]))
        return weight * torch.bmm(h, self.w2[best]).squeeze(1)


class EdgeList(nn.Module):
    """Messages along a list of edges."""

    source: Tensor
    target: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("source", torch.tensor([0, 1, 2, 3, 0, 2]))
        self.register_buffer("target", torch.tensor([1, 2, 3, 0, 2, 1]))
        self.a, self.b = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.a(x))
        return self.b(h + torch.zeros_like(h).index_add(0, self.target, h[self.source]))


class PointNet(nn.Module):
    """The largest feature over a set of points."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 5), nn.Linear(5, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(torch.relu(self.a(x))).amax(1))


class ReGLU(nn.Module):
    """A ReLU as gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(3, 5), nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(torch.relu(self.gate(x)) * self.up(x))


class CosineAttention(nn.Module):
    """Directions of queries and keys, a temperature for each head (Swin v2)."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(2))
        self.q, self.k, self.v, self.o = (nn.Linear(*s, bias=False) for s in ((5, 6), (5, 6), (5, 6), (6, 2)))

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q, k, v = (f(x).view(b, t, 2, 3).transpose(1, 2) for f in (self.q, self.k, self.v))
        scores = functional.normalize(q, dim=-1) @ functional.normalize(k, dim=-1).transpose(-2, -1)
        y = torch.softmax(scores * self.log_scale.exp()[:, None, None], -1) @ v
        return self.o(y.transpose(1, 2).reshape(b, t, 6))


class Canonical(nn.Module):
    """A tensor of low rank (CP) between two inputs and the output."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.randn(n, 4)) for n in (3, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.einsum("ar,br,cr->abc", self.a, self.b, self.c)
        return torch.einsum("na,nb,abc->nc", x[:, :3], x[:, 3:], weight)


class Tucker(nn.Module):
    """A small core between three matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.core = nn.Parameter(torch.randn(3, 4, 5))
        self.a, self.b, self.c = (nn.Parameter(torch.randn(*s)) for s in ((3, 3), (2, 4), (2, 5)))

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.einsum("pqr,ap,bq,cr->abc", self.core, self.a, self.b, self.c)
        return torch.einsum("na,nb,abc->nc", x[:, :3], x[:, 3:], weight)


class TensorTrain(nn.Module):
    """A matrix product state on eight inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.g1, self.g2, self.g3 = (nn.Parameter(torch.randn(*s)) for s in ((2, 3), (3, 2, 4), (4, 2)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nijk,ir,rjs,sk->n", x.view(-1, 2, 2, 2), self.g1, self.g2, self.g3)


class ModulatedConvolution(nn.Module):
    """StyleGAN2: a style scales the filter's inputs, a norm takes the scale of its outputs off."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(5, 4, 3, 3)), nn.Parameter(torch.randn(5))
        self.stem, self.style, self.head = nn.Conv2d(2, 4, 1), nn.Linear(3, 4), nn.Conv2d(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        style = self.style(x[:, 2, 0, :3])
        weight = self.weight[None] * style[:, None, :, None, None]
        weight = weight * torch.rsqrt(weight.pow(2).sum((2, 3, 4), keepdim=True) + 1e-8)
        u = self.stem(x[:, :2]).reshape(1, b * 4, h, w)
        u = functional.conv2d(u, weight.reshape(b * 5, 4, 3, 3), padding=1, groups=b).reshape(b, 5, h, w)
        return self.head(functional.leaky_relu(u + self.bias[:, None, None], 0.2))


class DiagonalStates(nn.Module):
    """S4D: diagonal complex states, applied as a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.log_decay, self.frequency = nn.Parameter(torch.rand(4, 3)), nn.Parameter(torch.rand(4, 3))
        self.c, self.d = nn.Parameter(torch.randn(4, 3, 2)), nn.Parameter(torch.randn(4))
        self.inner, self.out = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        t = x.shape[1]
        u = self.inner(x).transpose(1, 2)
        a = torch.complex(-self.log_decay.exp(), self.frequency)
        powers = torch.exp(a[:, :, None] * torch.arange(t))
        kernel = 2 * torch.einsum("dn,dnt->dt", torch.view_as_complex(self.c), powers).real
        y = torch.fft.irfft(torch.fft.rfft(kernel, n=2 * t) * torch.fft.rfft(u, n=2 * t), n=2 * t)[..., :t]
        return self.out(functional.gelu(y + self.d[:, None] * u).transpose(1, 2))


class SlotAttention(nn.Module):
    """Slots compete for the inputs, and are updated by a shared cell."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = nn.Parameter(torch.randn(3, 4))
        self.q, self.k, self.v = nn.Linear(4, 5, bias=False), nn.Linear(3, 5, bias=False), nn.Linear(3, 6, bias=False)
        self.cell, self.head = nn.GRUCell(6, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        b = x.shape[0]
        slots, k, v = self.slots.expand(b, -1, -1), self.k(x), self.v(x)
        for _ in range(2):
            weights = torch.softmax(k @ self.q(slots).transpose(1, 2), -1)
            weights = weights / weights.sum(1, keepdim=True)
            updates = weights.transpose(1, 2) @ v
            slots = self.cell(updates.reshape(-1, 6), slots.reshape(-1, 4)).view(b, 3, 4)
        return self.head(slots.mean(1))


class Between(nn.Module):
    """Two layers with a function between them."""

    def __init__(self, function: Callable[[Tensor], Tensor], *, image: bool = False, wider: int = 1) -> None:
        super().__init__()
        self.function = function
        self.a = nn.Conv2d(3, 4, 1) if image else nn.Linear(3, 4)
        self.b = nn.Conv2d(4 * wider, 2, 1) if image else nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.function(self.a(x)))


#: Places to sample an image at.
GRID = torch.linspace(-0.8, 0.7, 36).view(2, 3, 3, 2)

MORE: dict[str, Case] = {
    "inverted_residual": Case(
        InvertedResidual,
        (2, 3, 5, 5),
        """
        permutation | S(4) | stem.weight[0] stem.bias[0] expand.weight[1] project.weight[0] n3.weight[0] n3.bias[0]
            fc.weight[1] n3.running_mean[0] n3.running_var[0]
        permutation | S(8) | expand.weight[0] n1.weight[0] n1.bias[0] dw.weight[0] n2.weight[0] n2.bias[0]
            project.weight[1] n1.running_mean[0] n1.running_var[0] n2.running_mean[0] n2.running_var[0]
        rescaling | (R*)^8 | expand.weight[0] n1.weight[0] n1.running_mean[0]
        rescaling | (R*)^8 | dw.weight[0] n2.weight[0] n2.running_mean[0]
        rescaling | (R*)^4 | project.weight[0] n3.weight[0] n3.running_mean[0]
        rescaling | (R*)^4 | stem.weight[0] stem.bias[0] expand.weight[1] n3.weight[0] n3.bias[0] fc.weight[1]
    """,
    ),
    "dense_block": Case(
        DenseBlock,
        (2, 3, 4, 4),
        """
        permutation | S(4) | stem.weight[0] n1.weight[0] n1.bias[0] c1.weight[1] n2.weight[0] n2.bias[0] c2.weight[1]
            n3.weight[0] n3.bias[0] out.weight[1] n1.running_mean[0] n1.running_var[0] n2.running_mean[0]
            n2.running_var[0] n3.running_mean[0] n3.running_var[0]
        permutation | S(2) | c1.weight[0] n2.weight[0] n2.bias[0] c2.weight[1] n3.weight[0] n3.bias[0] out.weight[1]
            n2.running_mean[0] n2.running_var[0] n3.running_mean[0] n3.running_var[0]
        permutation | S(3) | c2.weight[0] n3.weight[0] n3.bias[0] out.weight[1] n3.running_mean[0] n3.running_var[0]
        rescaling | (R*)^4 | stem.weight[0] n1.weight[0] n2.weight[0] n3.weight[0] n1.running_mean[0]
            n2.running_mean[0] n3.running_mean[0]
        rescaling | (R*)^2 | c1.weight[0] n2.weight[0] n3.weight[0] n2.running_mean[0] n3.running_mean[0]
        rescaling | (R*)^3 | c2.weight[0] n3.weight[0] n3.running_mean[0]
        positive rescaling | (R>0)^4 | n1.weight[0] n1.bias[0] c1.weight[1]
        positive rescaling | (R>0)^4 | n2.weight[0] n2.bias[0] c2.weight[1]
        positive rescaling | (R>0)^2 | n2.weight[0] n2.bias[0] c2.weight[1]
        positive rescaling | (R>0)^4 | n3.weight[0] n3.bias[0] out.weight[1]
        positive rescaling | (R>0)^2 | n3.weight[0] n3.bias[0] out.weight[1]
        positive rescaling | (R>0)^3 | n3.weight[0] n3.bias[0] out.weight[1]
    """,
    ),
    "llama": Case(
        Llama,
        (2, 5),
        """
        double rotation | GL(4)^2 | v.weight[0] o.weight[1]
        permutation | S(2) | q.weight[0] k.weight[0] v.weight[0] o.weight[1]
        permutation | S(2)^2 | q.weight[0] o.weight[1]
        rescaling | (R*)^4 | q.weight[0] k.weight[0]
        planar rotation | SO(2)^4 | q.weight[0] k.weight[0]
        permutation | S(6) | embed.weight[1] n1.weight[0] q.weight[1] k.weight[1] v.weight[1] o.weight[0] n2.weight[0]
            gate.weight[1] up.weight[1] down.weight[0] nf.weight[0] head.weight[1]
        permutation | S(5) | gate.weight[0] up.weight[0] down.weight[1]
        rescaling | (R*)^5 | up.weight[0] down.weight[1]
        rescaling | (R*)^6 | n1.weight[0] q.weight[1] k.weight[1] v.weight[1]
        rescaling | (R*)^6 | n2.weight[0] gate.weight[1] up.weight[1]
        rescaling | (R*)^6 | nf.weight[0] head.weight[1]
        sign flip | Z2^6 | embed.weight[1] n1.weight[0] o.weight[0] n2.weight[0] down.weight[0] head.weight[1]
    """,
        integers=7,
    ),
    "t5": Case(
        T5,
        (2, 5, 6),
        """
        double rotation | GL(3)^2 | q.weight[0] k.weight[0]
        double rotation | GL(3)^2 | v.weight[0] o.weight[1]
        permutation | S(2) | q.weight[0] k.weight[0] v.weight[0] o.weight[1] relative.weight[1]
        permutation | S(5) | wi.weight[0] wo.weight[1]
        positive rescaling | (R>0)^5 | wi.weight[0] wo.weight[1]
        rescaling | (R*)^6 | n1.weight[0] q.weight[1] k.weight[1] v.weight[1]
        rescaling | (R*)^6 | n2.weight[0] wi.weight[1]
    """,
    ),
    "cross_attention": Case(
        CrossAttention,
        (2, 4, 5),
        """
        double rotation | GL(5) | memory.weight[0] memory.bias[0] attn.k_proj_weight[1] attn.v_proj_weight[1]
        double rotation | GL(6) | stream.weight[0] stream.bias[0] attn.q_proj_weight[1] attn.out_proj.weight[0]
            attn.out_proj.bias[0] head.weight[1]
        double rotation | GL(3)^2 | attn.q_proj_weight[0] attn.k_proj_weight[0] attn.in_proj_bias[0]
        double rotation | GL(3)^2 | attn.v_proj_weight[0] attn.in_proj_bias[0] attn.out_proj.weight[1]
        permutation | S(2) | attn.q_proj_weight[0] attn.k_proj_weight[0] attn.v_proj_weight[0] attn.in_proj_bias[0]
            attn.out_proj.weight[1]
    """,
    ),
    "perceiver": Case(
        Perceiver,
        (3, 5, 2),
        """
        permutation | S(4) | latents[0]
        double rotation | GL(6) | latents[1] q.weight[1]
        double rotation | GL(3) | q.weight[0] k.weight[0]
        double rotation | GL(5) | v.weight[0] a.weight[1]
        permutation | S(7) | a.weight[0] a.bias[0] b.weight[1]
    """,
    ),
    "encoder_norm_first": Case(
        lambda: nn.TransformerEncoderLayer(6, 2, 5, batch_first=True, norm_first=True),
        (2, 3, 6),
        """
        double rotation | GL(3)^2 | self_attn.in_proj_weight[0] self_attn.in_proj_bias[0]
        double rotation | GL(3)^2 | self_attn.in_proj_weight[0] self_attn.in_proj_bias[0] self_attn.out_proj.weight[1]
        permutation | S(2) | self_attn.in_proj_weight[0] self_attn.in_proj_bias[0] self_attn.out_proj.weight[1]
        permutation | S(5) | linear1.weight[0] linear1.bias[0] linear2.weight[1]
        positive rescaling | (R>0)^5 | linear1.weight[0] linear1.bias[0] linear2.weight[1]
        rescaling | (R*)^6 | self_attn.in_proj_weight[1] norm1.weight[0] norm1.bias[0]
        rescaling | (R*)^6 | linear1.weight[1] norm2.weight[0] norm2.bias[0]
    """,
    ),
    "decoder_layer": Case(
        DecoderLayer,
        (2, 3, 12),
        """
        double rotation | GL(3)^2 | layer.self_attn.in_proj_weight[0] layer.self_attn.in_proj_bias[0]
        double rotation | GL(3)^2 | layer.self_attn.in_proj_weight[0] layer.self_attn.in_proj_bias[0]
            layer.self_attn.out_proj.weight[1]
        permutation | S(2) | layer.self_attn.in_proj_weight[0] layer.self_attn.in_proj_bias[0]
            layer.self_attn.out_proj.weight[1]
        double rotation | GL(3)^2 | layer.multihead_attn.in_proj_weight[0] layer.multihead_attn.in_proj_bias[0]
        double rotation | GL(3)^2 | layer.multihead_attn.in_proj_weight[0] layer.multihead_attn.in_proj_bias[0]
            layer.multihead_attn.out_proj.weight[1]
        permutation | S(2) | layer.multihead_attn.in_proj_weight[0] layer.multihead_attn.in_proj_bias[0]
            layer.multihead_attn.out_proj.weight[1]
        permutation | S(5) | layer.linear1.weight[0] layer.linear1.bias[0] layer.linear2.weight[1]
        positive rescaling | (R>0)^5 | layer.linear1.weight[0] layer.linear1.bias[0] layer.linear2.weight[1]
        sign flip | Z2 | layer.multihead_attn.in_proj_weight[] layer.multihead_attn.out_proj.weight[]
            layer.multihead_attn.out_proj.bias[] layer.norm1.weight[] layer.norm1.bias[] layer.norm2.weight[]
        sign flip | Z2 | layer.linear1.weight[] layer.linear2.weight[] layer.linear2.bias[] layer.norm2.weight[]
            layer.norm2.bias[] layer.norm3.weight[]
    """,
    ),
    "bilinear": Case(
        BilinearFusion,
        (4, 4),
        """
        double rotation | GL(3) | a.weight[0] a.bias[0] mix.weight[1]
        double rotation | GL(4) | b.weight[0] b.bias[0] mix.weight[2]
        double rotation | GL(5) | mix.weight[0] mix.bias[0] head.weight[1]
    """,
    ),
    "film": Case(
        FiLM,
        (4, 5),
        """
        permutation | S(5) | a.weight[0] a.bias[0] film.weight[0] film.bias[0] out.weight[1]
        rescaling | (R*)^5 | a.weight[0] a.bias[0] film.weight[0] film.bias[0]
        positive rescaling | (R>0)^5 | a.weight[0] a.bias[0] film.weight[0] film.bias[0] out.weight[1]
    """,
    ),
    "hypernetwork": Case(
        HyperNetwork,
        (4, 5),
        """
        permutation | S(4) | h1.weight[0] h1.bias[0] h2.weight[1]
        positive rescaling | (R>0)^4 | h1.weight[0] h1.bias[0] h2.weight[1]
        permutation | S(5) | h2.weight[0] h2.bias[0] out.weight[1]
        sign flip | Z2^5 | h2.weight[0] h2.bias[0] out.weight[1]
    """,
    ),
    "deeponet": Case(
        DeepONet,
        (4, 5),
        """
        double rotation | GL(5) | b2.weight[0] b2.bias[0] t2.weight[0] t2.bias[0]
        permutation | S(4) | b1.weight[0] b1.bias[0] b2.weight[1]
        permutation | S(4) | t1.weight[0] t1.bias[0] t2.weight[1]
        sign flip | Z2^4 | b1.weight[0] b1.bias[0] b2.weight[1]
        sign flip | Z2^4 | t1.weight[0] t1.bias[0] t2.weight[1]
    """,
    ),
    "siren": Case(
        Siren,
        (4, 2),
        """
        permutation | S(5) | a.weight[0] a.bias[0] b.weight[1]
        permutation | S(4) | b.weight[0] b.bias[0] c.weight[1]
        sign flip | Z2^5 | a.weight[0] a.bias[0] b.weight[1]
        sign flip | Z2^4 | b.weight[0] b.bias[0] c.weight[1]
    """,
    ),
    "fourier_features": Case(
        FourierFeatures,
        (4, 2),
        """
        permutation | S(4) | frequencies[0] a.weight[1]
        sign flip | Z2^4 | frequencies[0] a.weight[1]
        permutation | S(5) | a.weight[0] a.bias[0] b.weight[1]
        positive rescaling | (R>0)^5 | a.weight[0] a.bias[0] b.weight[1]
    """,
    ),
    "radial_basis": Case(
        RadialBasis,
        (4, 3),
        """
        rotation | O(4) | centres[1] embed.weight[0] embed.bias[0]
        permutation | S(5) | centres[0] log_beta[0] out.weight[1]
    """,
    ),
    "maxout": Case(
        Maxout,
        (4, 3),
        """
        permutation | S(4) | a.weight[0] a.bias[0] b.weight[1]
        permutation | S(2)^4 | a.weight[0] a.bias[0]
        positive rescaling | (R>0)^4 | a.weight[0] a.bias[0] b.weight[1]
    """,
    ),
    "highway": Case(
        Highway,
        (4, 3),
        """
        permutation | S(5) | stem.weight[0] stem.bias[0] h.weight[0,1] h.bias[0] t.weight[0,1] t.bias[0] head.weight[1]
        positive rescaling | (R>0)^5 | stem.weight[0] stem.bias[0] h.weight[0,1] h.bias[0] t.weight[1] head.weight[1]
    """,
    ),
    "gated_linear_unit": Case(
        lambda: nn.Sequential(nn.Linear(3, 10), nn.GLU(), nn.Linear(5, 2)),
        (4, 3),
        """
        permutation | S(5) | 0.weight[0] 0.bias[0] 2.weight[1]
        rescaling | (R*)^5 | 0.weight[0] 0.bias[0] 2.weight[1]
    """,
    ),
    "spectral_norm": Case(
        lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(3, 5)), nn.ReLU(), nn.Linear(5, 2)),
        (4, 3),
        """
        permutation | S(5) | 0.bias[0] 0.parametrizations.weight.original[0] 2.weight[1]
            0.parametrizations.weight.0._u[0]
        scale invariance | R>0 | 0.parametrizations.weight.original[]
        sign flip | Z2 | 0.parametrizations.weight.original[]
    """,
    ),
    "lora": Case(
        lambda: nn.Sequential(LoRA(3, 5), nn.ReLU(), LoRA(5, 2)),
        (4, 3),
        """
        double rotation | GL(2) | 0.a[0] 0.b[1]
        double rotation | GL(2) | 2.a[0] 2.b[1]
    """,
    ),
    "low_rank": Case(
        lambda: nn.Sequential(
            nn.Linear(3, 2, bias=False), nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 3, bias=False), nn.Linear(3, 4)
        ),
        (4, 3),
        """
        double rotation | GL(2) | 0.weight[0] 1.weight[1]
        double rotation | GL(3) | 3.weight[0] 4.weight[1]
        permutation | S(5) | 1.weight[0] 1.bias[0] 3.weight[1]
        positive rescaling | (R>0)^5 | 1.weight[0] 1.bias[0] 3.weight[1]
    """,
    ),
    "albert": Case(
        Albert,
        (2, 4),
        """
        double rotation | GL(4) | embed.weight[1] proj.weight[1]
        permutation | S(6) | proj.weight[0] ne.weight[0] ne.bias[0] qkv.weight[1] o.weight[0] o.bias[0] n1.weight[0]
            n1.bias[0] up.weight[1] down.weight[0] down.bias[0] n2.weight[0] n2.bias[0] head.weight[1]
        double rotation | GL(3)^2 | qkv.weight[0]
        double rotation | GL(3)^2 | qkv.weight[0] o.weight[1]
        permutation | S(2) | qkv.weight[0] o.weight[1]
        permutation | S(5) | up.weight[0] up.bias[0] down.weight[1]
        sign flip | Z2 | embed.weight[] ne.weight[]
        sign flip | Z2 | embed.weight[] ne.bias[] o.bias[] n1.weight[] n2.weight[] n2.bias[] head.weight[]
        sign flip | Z2 | n1.weight[] n1.bias[] up.weight[] down.weight[] down.bias[] n2.weight[]
    """,
        integers=7,
    ),
    "graph_convolution": Case(
        GraphConvolution,
        (2, 4, 3),
        """
        permutation | S(5) | a.weight[0] a.bias[0] b.weight[1]
        positive rescaling | (R>0)^5 | a.weight[0] a.bias[0] b.weight[1]
    """,
    ),
    "graph_attention": Case(
        GraphAttention,
        (2, 4, 3),
        """
        permutation | S(5) | source[0] target[0] w.weight[0] out.weight[1]
        positive rescaling | (R>0)^5 | source[0] target[0] w.weight[0] out.weight[1]
    """,
    ),
    "generator": Case(
        Generator,
        (4, 3),
        """
        permutation | S(4) | fc.weight[0] fc.bias[0] up1.weight[0]
        positive rescaling | (R>0)^4 | fc.weight[0] fc.bias[0] up1.weight[0]
        permutation | S(5) | up1.weight[1] up1.bias[0] n.weight[0] n.bias[0] up2.weight[0] n.running_mean[0]
            n.running_var[0]
        rescaling | (R*)^5 | up1.weight[1] up1.bias[0] n.weight[0] n.running_mean[0]
        positive rescaling | (R>0)^5 | n.weight[0] n.bias[0] up2.weight[0]
    """,
    ),
    "pixel_shuffle": Case(
        lambda: nn.Sequential(
            nn.Conv2d(2, 16, 3, padding=1), nn.PixelShuffle(2), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1)
        ),
        (2, 2, 4, 4),
        """
        permutation | S(4) | 0.weight[0] 0.bias[0] 3.weight[1]
        positive rescaling | (R>0)^4 | 0.weight[0] 0.bias[0] 3.weight[1]
    """,
    ),
    "local_response": Case(
        lambda: nn.Sequential(nn.Conv2d(2, 5, 1), nn.Tanh(), nn.LocalResponseNorm(3), nn.Conv2d(5, 2, 1)),
        (2, 2, 4, 4),
        """
        sign flip | Z2^5 | 0.weight[0] 0.bias[0] 3.weight[1]
    """,
    ),
    "instance_norm": Case(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, bias=False), nn.InstanceNorm2d(4, affine=True), nn.ReLU(), nn.Conv2d(4, 2, 1)
        ),
        (2, 2, 5, 5),
        """
        permutation | S(4) | 0.weight[0] 1.weight[0] 1.bias[0] 3.weight[1]
        sign flip | Z2^4 | 0.weight[0] 1.weight[0]
        positive rescaling | (R>0)^4 | 1.weight[0] 1.bias[0] 3.weight[1]
    """,
    ),
    "layer_norm_mlp": Case(
        lambda: nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.ReLU(), nn.Linear(5, 2)),
        (4, 3),
        """
        permutation | S(5) | 0.weight[0] 0.bias[0] 1.weight[0] 1.bias[0] 3.weight[1]
        sign flip | Z2 | 0.weight[] 0.bias[] 1.weight[]
        positive rescaling | (R>0)^5 | 1.weight[0] 1.bias[0] 3.weight[1]
    """,
    ),
    "lstm_both_ways": Case(
        BothWays,
        (2, 4, 2),
        """
        permutation | S(3) | rnn.weight_ih_l0[0] rnn.weight_hh_l0[0,1] rnn.bias_ih_l0[0] rnn.bias_hh_l0[0]
            rnn.weight_ih_l1[1] rnn.weight_ih_l1_reverse[1]
        permutation | S(3) | rnn.weight_ih_l0_reverse[0] rnn.weight_hh_l0_reverse[0,1] rnn.bias_ih_l0_reverse[0]
            rnn.bias_hh_l0_reverse[0] rnn.weight_ih_l1[1] rnn.weight_ih_l1_reverse[1]
        permutation | S(3) | rnn.weight_ih_l1[0] rnn.weight_hh_l1[0,1] rnn.bias_ih_l1[0] rnn.bias_hh_l1[0]
            head.weight[1]
        permutation | S(3) | rnn.weight_ih_l1_reverse[0] rnn.weight_hh_l1_reverse[0,1] rnn.bias_ih_l1_reverse[0]
            rnn.bias_hh_l1_reverse[0] head.weight[1]
        sign flip | Z2^3 | rnn.weight_ih_l0[0] rnn.weight_hh_l0[0,1] rnn.bias_ih_l0[0] rnn.bias_hh_l0[0]
            rnn.weight_ih_l1[1] rnn.weight_ih_l1_reverse[1]
        sign flip | Z2^3 | rnn.weight_ih_l0_reverse[0] rnn.weight_hh_l0_reverse[0,1] rnn.bias_ih_l0_reverse[0]
            rnn.bias_hh_l0_reverse[0] rnn.weight_ih_l1[1] rnn.weight_ih_l1_reverse[1]
        sign flip | Z2^3 | rnn.weight_ih_l1[0] rnn.weight_hh_l1[0,1] rnn.bias_ih_l1[0] rnn.bias_hh_l1[0]
            head.weight[1]
        sign flip | Z2^3 | rnn.weight_ih_l1_reverse[0] rnn.weight_hh_l1_reverse[0,1] rnn.bias_ih_l1_reverse[0]
            rnn.bias_hh_l1_reverse[0] head.weight[1]
    """,
    ),
    "gru_by_hand": Case(
        GRUByHand,
        (2, 3, 2),
        """
        permutation | S(4) | wz.weight[0,1] wz.bias[0] wr.weight[0,1] wr.bias[0] wn.weight[0,1] wn.bias[0]
            head.weight[1]
        sign flip | Z2^4 | wz.weight[1] wr.weight[1] wn.weight[0,1] wn.bias[0] head.weight[1]
    """,
    ),
    "cell_loop": Case(
        CellLoop,
        (2, 3, 2),
        """
        permutation | S(4) | start[0] cell.weight_ih[0] cell.weight_hh[0,1] cell.bias_ih[0] cell.bias_hh[0]
            head.weight[1]
        sign flip | Z2^4 | start[0] cell.weight_ih[0] cell.weight_hh[0,1] cell.bias_ih[0] cell.bias_hh[0]
            head.weight[1]
    """,
    ),
    "mamba": Case(
        Mamba,
        (2, 4, 3),
        """
        permutation | S(4) | a_log[0] d[0] inner.weight[0] conv.weight[0] conv.bias[0] dt_low.weight[1] dt.weight[0]
            dt.bias[0] write.weight[1] read.weight[1] out.weight[1]
        permutation | S(3) | a_log[1] write.weight[0] read.weight[0]
        rescaling | (R*)^3 | write.weight[0] read.weight[0]
        rescaling | (R*)^4 | inner.weight[0] conv.weight[0]
        rescaling | R* | d[] write.weight[] out.weight[]
        double rotation | GL(2) | dt_low.weight[0] dt.weight[1]
    """,
    ),
    "ntk": Case(
        NTK,
        (4, 3),
        """
        permutation | S(5) | w1[0] w2[1] b1[0]
        permutation | S(4) | w2[0] w3[1]
        positive rescaling | (R>0)^5 | w1[0] w2[1] b1[0]
        sign flip | Z2^4 | w2[0] w3[1]
    """,
    ),
    "twin_critics": Case(
        TwinCritics,
        (32, 3),
        """
        permutation | S(4) | trunk.weight[0] trunk.bias[0] q1.0.weight[1] q2.0.weight[1]
        positive rescaling | (R>0)^4 | trunk.weight[0] trunk.bias[0] q1.0.weight[1] q2.0.weight[1]
        permutation | S(5) | q1.0.weight[0] q1.0.bias[0] q1.2.weight[1]
        permutation | S(5) | q2.0.weight[0] q2.0.bias[0] q2.2.weight[1]
        positive rescaling | (R>0)^5 | q1.0.weight[0] q1.0.bias[0] q1.2.weight[1]
        positive rescaling | (R>0)^5 | q2.0.weight[0] q2.0.bias[0] q2.2.weight[1]
        permutation | S(2) | q1.0.weight[] q1.0.bias[] q1.2.weight[] q1.2.bias[] q2.0.weight[] q2.0.bias[]
            q2.2.weight[] q2.2.bias[]
    """,
    ),
    "duelling": Case(
        Duelling,
        (4, 3),
        """
        permutation | S(5) | trunk.weight[0] trunk.bias[0] value.0.weight[1] advantage.0.weight[1]
        positive rescaling | (R>0)^5 | trunk.weight[0] trunk.bias[0] value.0.weight[1] advantage.0.weight[1]
        permutation | S(4) | value.0.weight[0] value.0.bias[0] value.2.weight[1]
        permutation | S(4) | advantage.0.weight[0] advantage.0.bias[0] advantage.2.weight[1]
        positive rescaling | (R>0)^4 | value.0.weight[0] value.0.bias[0] value.2.weight[1]
        positive rescaling | (R>0)^4 | advantage.0.weight[0] advantage.0.bias[0] advantage.2.weight[1]
    """,
    ),
    "coupling": Case(
        Coupling,
        (4, 4),
        """
        permutation | S(5) | nets.0.0.weight[0] nets.0.0.bias[0] nets.0.2.weight[1]
        permutation | S(5) | nets.1.0.weight[0] nets.1.0.bias[0] nets.1.2.weight[1]
        positive rescaling | (R>0)^5 | nets.0.0.weight[0] nets.0.0.bias[0] nets.0.2.weight[1]
        positive rescaling | (R>0)^5 | nets.1.0.weight[0] nets.1.0.bias[0] nets.1.2.weight[1]
    """,
    ),
    "mixture_density": Case(
        MixtureDensity,
        (4, 3),
        """
        permutation | S(3) | pi.weight[0] pi.bias[0] mu.weight[0] mu.bias[0] log_sigma.weight[0] log_sigma.bias[0]
        permutation | S(5) | a.weight[0] a.bias[0] pi.weight[1] mu.weight[1] log_sigma.weight[1]
        sign flip | Z2^5 | a.weight[0] a.bias[0] pi.weight[1] mu.weight[1] log_sigma.weight[1]
    """,
    ),
    "codebook": Case(
        Codebook,
        (4, 3),
        """
        permutation | S(6) | codes.weight[0]
        rotation | O(4) | enc.weight[0] enc.bias[0] codes.weight[1] dec.weight[1]
        positive rescaling | R>0 | enc.weight[] enc.bias[] codes.weight[] dec.weight[]
    """,
    ),
    "contrastive": Case(
        Contrastive,
        (4, 5),
        """
        rotation | O(4) | image.2.weight[0] text.weight[0] text.bias[0]
        scale invariance | R>0 | image.2.weight[]
        scale invariance | R>0 | text.weight[] text.bias[]
        permutation | S(5) | image.0.weight[0] image.0.bias[0] image.2.weight[1]
    """,
    ),
    "two_towers": Case(
        TwoTowers,
        (4, 2),
        """
        double rotation | GL(4) | user.weight[1] item.weight[1]
    """,
        integers=7,
    ),
    "cosine_classifier": Case(
        CosineClassifier,
        (4, 3),
        """
        rotation | O(4) | classes[1] b.weight[0] b.bias[0]
        scale invariance | (R>0)^3 | classes[0]
        scale invariance | R>0 | b.weight[] b.bias[]
        permutation | S(5) | a.weight[0] a.bias[0] b.weight[1]
        positive rescaling | (R>0)^5 | a.weight[0] a.bias[0] b.weight[1]
    """,
    ),
    "gated_pooling": Case(
        GatedPooling,
        (2, 4, 3),
        """
        permutation | S(6) | embed.weight[0] embed.bias[0] v.weight[1] u.weight[1] out.weight[1]
        positive rescaling | (R>0)^6 | embed.weight[0] embed.bias[0] v.weight[1] u.weight[1] out.weight[1]
        permutation | S(5) | v.weight[0] v.bias[0] u.weight[0] u.bias[0] w.weight[1]
        sign flip | Z2^5 | v.weight[0] v.bias[0] w.weight[1]
    """,
    ),
    "linear_attention": Case(
        LinearAttention,
        (2, 4, 3),
        """
        permutation | S(2) | q.weight[0] k.weight[0] v.weight[0] o.weight[1]
        permutation | S(3)^2 | q.weight[0] k.weight[0]
        double rotation | GL(3)^2 | v.weight[0] o.weight[1]
    """,
    ),
    "neural_ode": Case(
        NeuralODE,
        (4, 3),
        """
        double rotation | GL(4) | stem.weight[0] stem.bias[0] l1.weight[1] l2.weight[0] l2.bias[0] head.weight[1]
        permutation | S(5) | l1.weight[0] l1.bias[0] l2.weight[1]
        sign flip | Z2^5 | l1.weight[0] l1.bias[0] l2.weight[1]
    """,
    ),
    "powers": Case(
        Powers,
        (4, 3),
        """
        permutation | S(5) | a.weight[0] a.bias[0] b.weight[1]
        rescaling | (R*)^5 | a.weight[0] a.bias[0] b.weight[1]
        permutation | S(4) | b.weight[0] b.bias[0] c.weight[1]
        positive rescaling | (R>0)^4 | b.weight[0] b.bias[0] c.weight[1]
        permutation | S(3) | c.weight[0] c.bias[0] d.weight[1]
        sign flip | Z2^3 | c.weight[0] c.bias[0]
    """,
    ),
    "concatenated_relu": Case(
        ConcatenatedReLU,
        (4, 3),
        """
        permutation | S(5) | a.weight[0] a.bias[0] b.weight[1]
        positive rescaling | (R>0)^5 | a.weight[0] a.bias[0] b.weight[1]
    """,
    ),
    "qk_norm": Case(
        QKNorm,
        (2, 4, 5),
        """
        permutation | S(2) | q.weight[0] k.weight[0] v.weight[0] o.weight[1]
        double rotation | GL(3)^2 | v.weight[0] o.weight[1]
        permutation | S(3) | q.weight[0] k.weight[0] qn.weight[0] kn.weight[0]
        rescaling | (R*)^3 | qn.weight[0] kn.weight[0]
        sign flip | Z2^6 | q.weight[0] k.weight[0]
        sign flip | Z2^3 | q.weight[0] qn.weight[0]
    """,
    ),
    "top_k_experts": Case(
        TopK,
        (4, 3),
        """
        permutation | S(4) | w1[0] w2[0] gate.weight[0]
        permutation | S(5)^4 | w1[2] w2[1]
        positive rescaling | (R>0)^20 | w1[0,2] w2[0,1]
    """,
    ),
    "diffusion_block": Case(
        DiffusionBlock,
        (2, 3, 4, 4),
        """
        permutation | S(2) | time.weight[0] time.bias[0] stem.weight[0] stem.bias[0] n.weight[0] n.bias[0] out.weight[1]
        permutation | S(2)^2 | time.weight[0] time.bias[0] stem.weight[0] stem.bias[0] n.weight[0] n.bias[0]
            out.weight[1]
        sign flip | Z2^2 | time.weight[0] time.bias[0] stem.weight[0] stem.bias[0] n.weight[0]
    """,
    ),
    "factorisation_machine": Case(
        FactorisationMachine,
        (4, 3),
        """
        rotation | O(4) | v[1]
    """,
    ),
    "fourier_operator": Case(
        FourierOperator,
        (2, 6, 1),
        """
        double rotation | GL(4) | spectral[0] lift.weight[0] lift.bias[0] skip.weight[1]
        permutation | S(5) | spectral[1] skip.weight[0] skip.bias[0] head.weight[1]
    """,
    ),
    "softmax_energy": Case(
        SoftmaxEnergy,
        (4, 3),
        """
        permutation | S(5) | a.weight[0] a.bias[0] b.weight[1]
        sign flip | Z2^5 | a.weight[0] a.bias[0] b.weight[1]
        scale invariance | R>0 | temperature[] b.weight[] b.bias[]
        sign flip | Z2 | temperature[] b.weight[] b.bias[]
    """,
    ),
    "fourier_operator_in_place": Case(
        FourierOperatorInPlace,
        (2, 1, 6, 6),
        """
        double rotation | GL(4) | spectral[0] lift.weight[0] lift.bias[0] skip.weight[1]
        permutation | S(5) | spectral[1] skip.weight[0] skip.bias[0] head.weight[1]
    """,
    ),
    "high_floor": Case(
        HighFloor,
        (4, 3),
        """
        rotation | O(4) | a.weight[0] a.bias[0] out.weight[1]
    """,
    ),
    "group_sort": Case(
        GroupSort,
        (4, 3),
        """
        permutation | S(2)^4 | a.weight[0] a.bias[0]
        permutation | S(4) | a.weight[0] a.bias[0] b.weight[1]
        positive rescaling | (R>0)^4 | a.weight[0] a.bias[0] b.weight[1]
    """,
    ),
    "sort_pooling": Case(
        SortPooling,
        (4, 3),
        """
        permutation | S(5) | a.weight[0] a.bias[0]
        positive rescaling | R>0 | a.weight[] a.bias[] b.weight[]
    """,
    ),
    "switch": Case(
        Switch,
        (16, 3),
        """
        permutation | S(4) | w1[0] w2[0] gate.weight[0]
        permutation | S(5) | w1[2] w2[1]
        positive rescaling | (R>0)^5 | w1[2] w2[1]
    """,
    ),
    "edge_list": Case(
        EdgeList,
        (4, 3),
        """
        permutation | S(5) | a.weight[0] a.bias[0] b.weight[1]
        positive rescaling | (R>0)^5 | a.weight[0] a.bias[0] b.weight[1]
    """,
    ),
    "point_net": Case(
        PointNet,
        (2, 6, 3),
        """
        permutation | S(5) | a.weight[0] a.bias[0] b.weight[1]
        permutation | S(4) | b.weight[0] b.bias[0] c.weight[1]
        positive rescaling | (R>0)^5 | a.weight[0] a.bias[0] b.weight[1]
        positive rescaling | (R>0)^4 | b.weight[0] b.bias[0] c.weight[1]
    """,
    ),
    "embedding_bag": Case(
        lambda: nn.Sequential(nn.EmbeddingBag(7, 4), nn.Linear(4, 2)),
        (3, 5),
        """
        double rotation | GL(4) | 0.weight[1] 1.weight[1]
    """,
        integers=7,
    ),
    "reglu": Case(
        ReGLU,
        (4, 3),
        """
        permutation | S(5) | gate.weight[0] gate.bias[0] up.weight[0] up.bias[0] down.weight[1]
        positive rescaling | (R>0)^5 | gate.weight[0] gate.bias[0] down.weight[1]
        rescaling | (R*)^5 | up.weight[0] up.bias[0] down.weight[1]
    """,
    ),
    "cosine_attention": Case(
        CosineAttention,
        (2, 4, 5),
        """
        permutation | S(2) | log_scale[0] q.weight[0] k.weight[0] v.weight[0] o.weight[1]
        rotation | O(3)^2 | q.weight[0] k.weight[0]
        scale invariance | (R>0)^2 | q.weight[0]
        scale invariance | (R>0)^2 | k.weight[0]
        double rotation | GL(3)^2 | v.weight[0] o.weight[1]
    """,
    ),
    "canonical": Case(
        Canonical,
        (4, 5),
        """
        permutation | S(4) | a[1] b[1] c[1]
        rescaling | (R*)^4 | a[1] c[1]
        rescaling | (R*)^4 | a[1] b[1]
    """,
    ),
    "tucker": Case(
        Tucker,
        (4, 5),
        """
        double rotation | GL(3) | core[0] a[1]
        double rotation | GL(4) | core[1] b[1]
        double rotation | GL(5) | core[2] c[1]
    """,
    ),
    "tensor_train": Case(
        TensorTrain,
        (4, 8),
        """
        double rotation | GL(3) | g1[1] g2[0]
        double rotation | GL(4) | g2[2] g3[0]
    """,
    ),
    "modulated_convolution": Case(
        ModulatedConvolution,
        (2, 3, 4, 4),
        """
        permutation | S(4) | weight[1] stem.weight[0] stem.bias[0] style.weight[0] style.bias[0]
        permutation | S(5) | weight[0] bias[0] head.weight[1]
        rescaling | (R*)^4 | weight[1] style.weight[0] style.bias[0]
        sign flip | Z2^4 | weight[1] stem.weight[0] stem.bias[0]
        positive rescaling | R>0 | bias[] stem.weight[] stem.bias[] head.weight[]
    """,
    ),
    "diagonal_states": Case(
        DiagonalStates,
        (2, 5, 3),
        """
        permutation | S(4) | log_decay[0] frequency[0] c[0] d[0] inner.weight[0] inner.bias[0] out.weight[1]
        permutation | S(3)^4 | log_decay[1] frequency[1] c[1]
        rescaling | (R*)^4 | c[0] d[0] inner.weight[0] inner.bias[0]
    """,
    ),
    "slot_attention": Case(
        SlotAttention,
        (2, 5, 3),
        """
        permutation | S(3) | slots[0]
        double rotation | GL(5) | q.weight[0] k.weight[0]
        double rotation | GL(6) | v.weight[0] cell.weight_ih[1]
        permutation | S(4) | slots[1] q.weight[1] cell.weight_ih[0] cell.weight_hh[0,1] cell.bias_ih[0] cell.bias_hh[0]
            head.weight[1]
        sign flip | Z2^4 | slots[1] q.weight[1] cell.weight_ih[0] cell.weight_hh[0,1] cell.bias_ih[0] cell.bias_hh[0]
            head.weight[1]
    """,
    ),
    "signed_root": Case(
        lambda: Between(lambda h: h.sign() * h.abs().sqrt()),
        (4, 3),
        """
        permutation | S(4) | a.weight[0] a.bias[0] b.weight[1]
        positive rescaling | (R>0)^4 | a.weight[0] a.bias[0] b.weight[1]
        sign flip | Z2^4 | a.weight[0] a.bias[0] b.weight[1]
    """,
    ),
    "leaky_by_cases": Case(
        lambda: Between(lambda h: torch.where(h > 0, h, 0.1 * h)),
        (4, 3),
        """
        permutation | S(4) | a.weight[0] a.bias[0] b.weight[1]
        positive rescaling | (R>0)^4 | a.weight[0] a.bias[0] b.weight[1]
    """,
    ),
    "relu_as_clamp": Case(
        lambda: Between(lambda h: h.clamp(min=0)),
        (4, 3),
        """
        permutation | S(4) | a.weight[0] a.bias[0] b.weight[1]
        positive rescaling | (R>0)^4 | a.weight[0] a.bias[0] b.weight[1]
    """,
    ),
    "guarded_norm": Case(
        lambda: Between(lambda h: h / h.norm(dim=-1, keepdim=True).clamp(min=1e-8)),
        (4, 3),
        """
        rotation | O(4) | a.weight[0] a.bias[0] b.weight[1]
        scale invariance | R>0 | a.weight[] a.bias[]
    """,
    ),
    "shrinkage": Case(
        lambda: Between(lambda h: functional.hardshrink(h) + functional.softshrink(h)),
        (4, 3),
        """
        permutation | S(4) | a.weight[0] a.bias[0] b.weight[1]
        sign flip | Z2^4 | a.weight[0] a.bias[0] b.weight[1]
    """,
    ),
    "interpolated": Case(
        lambda: Between(lambda h: torch.lerp(h, torch.relu(h), 0.3)),
        (4, 3),
        """
        permutation | S(4) | a.weight[0] a.bias[0] b.weight[1]
        positive rescaling | (R>0)^4 | a.weight[0] a.bias[0] b.weight[1]
    """,
    ),
    "ellipsis": Case(
        lambda: Between(lambda h: torch.einsum("...i,...i->...i", h, torch.relu(h))),
        (4, 3),
        """
        permutation | S(4) | a.weight[0] a.bias[0] b.weight[1]
        positive rescaling | (R>0)^4 | a.weight[0] a.bias[0] b.weight[1]
    """,
    ),
    "channel_shuffle": Case(
        lambda: Between(lambda h: functional.channel_shuffle(torch.relu(h), 2), image=True),
        (2, 3, 4, 4),
        """
        permutation | S(4) | a.weight[0] a.bias[0] b.weight[1]
        positive rescaling | (R>0)^4 | a.weight[0] a.bias[0] b.weight[1]
    """,
    ),
    "pixel_unshuffle": Case(
        lambda: Between(lambda h: functional.pixel_unshuffle(torch.relu(h), 2), image=True, wider=4),
        (2, 3, 4, 4),
        """
        permutation | S(4) | a.weight[0] a.bias[0] b.weight[1]
        positive rescaling | (R>0)^4 | a.weight[0] a.bias[0] b.weight[1]
    """,
    ),
    "sampled": Case(
        lambda: Between(lambda h: functional.grid_sample(torch.relu(h), GRID.to(h), align_corners=False), image=True),
        (2, 3, 4, 4),
        """
        permutation | S(4) | a.weight[0] a.bias[0] b.weight[1]
        positive rescaling | (R>0)^4 | a.weight[0] a.bias[0] b.weight[1]
    """,
    ),
    "numbered": Case(
        lambda: Between(lambda h: h * (h.argmax(-1, keepdim=True) + 1)),
        (4, 3),
        """
        positive rescaling | R>0 | a.weight[] a.bias[] b.weight[]
    """,
    ),
}
