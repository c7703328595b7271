"""Small networks whose parameter symmetries are known by hand.

Each entry of :data:`BANK` gives a model, its inputs and the complete list of its families, one each:
``kind | group | tensor[axes] tensor[axes] ...``. A running statistic that has to move along is listed like a parameter.
Where several choices of generators describe one group, the list has the one that touches the fewest tensors.

Less known ones, with their reasons. The gain and shift of a normalisation rescale against the next weights, unit by
unit. The residual stream of a pre-norm transformer may change sign as a whole, since layer normalisation is odd. An
LSTM unit flips its sign with the rows of its candidate gate alone; a GRU unit with those of its new gate. A convolution
before batch normalisation (in evaluation) rescales against the gain, if the running mean follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Case:
    """A model with its true families."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    families: str
    integers: int = 0

    def model(self) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            return self.build()

    def inputs(self) -> tuple[Tensor, ...]:
        g = torch.Generator().manual_seed(5)
        if self.integers:
            return (torch.randint(0, self.integers, self.shape, generator=g),)
        return (torch.randn(self.shape, generator=g),)

    def truth(self) -> set[str]:
        families: list[str] = []
        for line in self.families.split("\n"):
            if " | " in line:
                families.append(line.strip())
            elif line.strip():  # a long list of tensors goes on
                families[-1] += " " + line.strip()
        return set(families)


def mlp(act: Callable[[], nn.Module], bias: bool = True) -> nn.Module:
    return nn.Sequential(
        nn.Linear(3, 5, bias=bias), act(), nn.Linear(5, 4, bias=bias), act(), nn.Linear(4, 2, bias=bias)
    )


class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class BasicBlock(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, i: int, o: int, norm: bool, stride: int = 1) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(i, o, 3, stride, 1, bias=not norm)
        self.c2 = nn.Conv2d(o, o, 3, 1, 1, bias=not norm)
        self.n1 = nn.BatchNorm2d(o) if norm else nn.Identity()
        self.n2 = nn.BatchNorm2d(o) if norm else nn.Identity()
        self.down = nn.Conv2d(i, o, 1, stride, bias=False) if stride > 1 or i != o else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = functional.relu(self.n1(self.c1(x)), inplace=True)
        return functional.relu(self.n2(self.c2(h)) + self.down(x))


class ResNet(nn.Module):
    """A stem, two stages, a head."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 1, 1, bias=False)
        self.b1 = BasicBlock(4, 4, norm)
        self.b2 = BasicBlock(4, 6, norm, 2)
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.b2(self.b1(functional.relu(self.stem(x)))).mean(dim=(2, 3)))


class UNet(nn.Module):
    """Down, up, and a skip by concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.d1, self.d2 = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1)
        self.up = nn.ConvTranspose2d(5, 3, 2, 2)
        self.u1, self.out = nn.Conv2d(7, 6, 3, padding=1), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = functional.gelu(self.d1(x))
        b = functional.gelu(self.d2(functional.max_pool2d(a, 2)))
        return self.out(functional.gelu(self.u1(torch.cat([a, functional.gelu(self.up(b))], dim=1))))


class Attention(nn.Module):
    """Self-attention with a fused projection, as in GPT-2 and ViT."""

    def __init__(self, d: int, heads: int, causal: bool, bias: bool = True) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv, self.proj = nn.Linear(d, 3 * d, bias=bias), nn.Linear(d, d, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(x).split(d, dim=2)
        q, k, v = (u.view(b, t, self.heads, d // self.heads).transpose(1, 2) for u in (q, k, v))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.proj(y.transpose(1, 2).contiguous().view(b, t, d))


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, d: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.n1, self.attn, self.n2 = nn.LayerNorm(d), Attention(d, heads, causal), nn.LayerNorm(d)
        self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.n1(x))
        return x + self.mlp(self.n2(x))


class GPT(nn.Module):
    """Decoder with learnt positions and tied embeddings."""

    def __init__(self, vocab: int = 11, d: int = 6, heads: int = 2, layers: int = 1, context: int = 8) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, d), nn.Embedding(context, d)
        self.h = nn.ModuleList(Block(d, heads, True) for _ in range(layers))
        self.nf, self.head = nn.LayerNorm(d), nn.Linear(d, vocab, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for block in self.h:
            x = block(x)
        return self.head(self.nf(x))


class ViT(nn.Module):
    """Patches, a class token, learnt positions, one block."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 6, 4, 4)
        self.cls, self.pos = nn.Parameter(torch.randn(1, 1, 6)), nn.Parameter(torch.randn(1, 5, 6))
        self.block, self.norm, self.head = Block(6, 2, False), nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        p = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), p], dim=1) + self.pos
        return self.head(self.norm(self.block(x))[:, 0])


class Grouped(nn.Module):
    """Attention with four query heads on two key-value heads, between linear maps."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(5, 12), nn.Linear(5, 6), nn.Linear(5, 6)
        self.o = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q = self.q(x).view(b, t, 4, 3).transpose(1, 2)
        k, v = (m(x).view(b, t, 2, 3).transpose(1, 2).repeat_interleave(2, dim=1) for m in (self.k, self.v))
        a = torch.softmax(q @ k.transpose(-2, -1) / 3**0.5, dim=-1)
        return self.o((a @ v).transpose(1, 2).reshape(b, t, 12))


class SwiGLU(nn.Module):
    """(silu(W x) * V x) U."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up, self.down = (nn.Linear(*s, bias=False) for s in ((3, 5), (3, 5), (5, 2)))

    def forward(self, x: Tensor) -> Tensor:
        return self.down(functional.silu(self.gate(x)) * self.up(x))


class SoftMoE(nn.Module):
    """Experts in batched tensors, mixed by a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(3, 4)
        self.w1, self.w2 = nn.Parameter(torch.randn(4, 3, 5)), nn.Parameter(torch.randn(4, 5, 2))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(torch.einsum("bi,eih->beh", x, self.w1))
        y = torch.einsum("beh,eho->beo", h, self.w2)
        return (torch.softmax(self.gate(x), dim=-1).unsqueeze(-1) * y).sum(dim=1)


class ExpertList(nn.Module):
    """Experts in modules of their own, weighted one by one or stacked."""

    def __init__(self, stacked: bool) -> None:
        super().__init__()
        self.stacked, self.gate = stacked, nn.Linear(3, 2)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        g = torch.softmax(self.gate(x), dim=-1)
        if self.stacked:
            return (g.unsqueeze(-1) * torch.stack([e(x) for e in self.experts], dim=1)).sum(dim=1)
        return sum(g[:, i : i + 1] * e(x) for i, e in enumerate(self.experts))  # type: ignore[return-value]


class HeadList(nn.Module):
    """Attention heads in modules of their own, concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.ModuleList(nn.Linear(4, 3) for _ in range(3)) for _ in range(2))
        self.out = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        mixed = [torch.softmax(q(x) @ k(x).mT, dim=-1) @ v(x) for q, k, v in self.heads]
        return self.out(torch.cat(mixed, dim=-1))


class Excitation(nn.Module):
    """Squeeze-and-excitation: channels gated by their own averages."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.s1, self.s2, self.b = (nn.Conv2d(*s, 1) for s in ((2, 6), (6, 3), (3, 6), (6, 2)))

    def forward(self, x: Tensor) -> Tensor:
        h = functional.relu(self.a(x))
        squeezed = functional.relu(self.s1(functional.adaptive_avg_pool2d(h, 1)))
        return self.b(h * torch.sigmoid(self.s2(squeezed)))


class ConvNeXt(nn.Module):
    """A depthwise block with a learnt scale for each layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.dw, self.n = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.LayerNorm(4)
        self.a, self.b, self.g, self.h = nn.Linear(4, 8), nn.Linear(8, 4), nn.Parameter(torch.ones(4)), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.n(self.dw(x).permute(0, 2, 3, 1))
        y = self.g * self.b(functional.gelu(self.a(y)))
        return self.h((x + y.permute(0, 3, 1, 2)).mean(dim=(2, 3)))


class Shuffle(nn.Module):
    """Grouped convolutions with a channel shuffle between them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 6, 1), nn.Conv2d(6, 6, 1, groups=2)
        self.c, self.d = nn.Conv2d(6, 6, 3, groups=3), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.b(functional.relu(self.a(x))))
        b, c, h, w = x.shape
        x = x.view(b, 2, 3, h, w).transpose(1, 2).reshape(b, c, h, w)
        return self.d(functional.relu(self.c(x)))


class Rotary(nn.Module):
    """Attention with rotary positions, on halves or on neighbours."""

    def __init__(self, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        self.q, self.k, self.v, self.o = (nn.Linear(*s, bias=False) for s in ((3, 8), (3, 8), (3, 8), (8, 2)))
        angle = torch.arange(5.0)[:, None] * torch.tensor([1.0, 0.3])
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def turn(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=-1) if self.halves else (x[..., ::2], x[..., 1::2])
        parts = a * self.cos - b * self.sin, a * self.sin + b * self.cos
        return torch.cat(parts, dim=-1) if self.halves else torch.stack(parts, dim=-1).flatten(-2)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q, k, v = (m(x).view(b, t, 2, 4).transpose(1, 2) for m in (self.q, self.k, self.v))
        y = functional.scaled_dot_product_attention(self.turn(q), self.turn(k), v)
        return self.o(y.transpose(1, 2).reshape(b, t, 8))


class WeightNorm(nn.Module):
    """Rows as lengths times directions."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.utils.parametrizations.weight_norm(nn.Linear(3, 5)), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)))


class Recurrent(nn.Module):
    """A recurrent layer and a head on its last state."""

    def __init__(self, kind: type[nn.RNNBase], **options: object) -> None:
        super().__init__()
        self.rnn, self.head = kind(3, 4, batch_first=True, **options), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


class VAE(nn.Module):
    """Mean and log-variance from one trunk; the mean code is decoded."""

    def __init__(self) -> None:
        super().__init__()
        self.enc, self.mu, self.logvar = nn.Linear(4, 5), nn.Linear(5, 3), nn.Linear(5, 3)
        self.dec1, self.dec2 = nn.Linear(3, 6), nn.Linear(6, 4)
        self.register_buffer("noise", torch.full((3,), 0.7))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        h = torch.relu(self.enc(x))
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + self.noise * torch.exp(0.5 * logvar)
        kl = (mu.square() + logvar.exp() - logvar - 1).sum(dim=-1)
        return self.dec2(torch.tanh(self.dec1(z))), kl


class Siamese(nn.Module):
    """One encoder for two inputs, compared by their inner product."""

    def __init__(self) -> None:
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4))

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=0)
        return (self.enc(a) * self.enc(b)).sum(dim=-1)


class TiedAutoencoder(nn.Module):
    """Decoder weights are the transposed encoder weights."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.b, self.c = (nn.Parameter(torch.randn(*s)) for s in ((5, 4), (5,), (4,)))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(torch.tanh(functional.linear(x, self.w, self.b)), self.w.T, self.c)


class DeepSets(nn.Module):
    """rho(sum phi)."""

    def __init__(self) -> None:
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4))
        self.rho = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.rho(self.phi(x).sum(dim=1))


class Mixer(nn.Module):
    """MLPs over tokens and over channels, in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.n1, self.n2 = nn.Linear(3, 6), nn.LayerNorm(6), nn.LayerNorm(6)
        self.tokens = nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 4))
        self.channels = nn.Sequential(nn.Linear(6, 7), nn.GELU(), nn.Linear(7, 6))
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = x + self.tokens(self.n1(x).transpose(1, 2)).transpose(1, 2)
        return self.head((x + self.channels(self.n2(x))).mean(dim=1))


class Equivariant(nn.Module):
    """The permutation-equivariant linear layer: a x + b mean(x), channel by channel matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 5), nn.Linear(3, 5, bias=False)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.a(x) + self.b(x.mean(dim=1, keepdim=True)))).sum(dim=1)


class Circulant(nn.Module):
    """A weight matrix built from tied coordinates: W[i, j] = c[i - j]."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.head = nn.Parameter(torch.randn(4)), nn.Linear(4, 2)
        self.register_buffer("shift", (torch.arange(4)[:, None] - torch.arange(4)[None, :]) % 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(x @ self.c[self.shift].T))


class Frozen(nn.Module):
    """The second layer does not train."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 5), nn.Linear(5, 4), nn.Linear(4, 2)
        self.b.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.tanh(self.b(torch.tanh(self.a(x)))))


class Shared(nn.Module):
    """One layer applied three times."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.layer, self.c = nn.Linear(3, 5), nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x))
        for _ in range(3):
            x = torch.relu(self.layer(x))
        return self.c(x)


class RMSStream(nn.Module):
    """A residual stream with RMSNorm without gain: only its inner products and linear maps are seen."""

    def __init__(self, explicit: bool) -> None:
        super().__init__()
        self.explicit = explicit
        self.embed, self.up, self.down = nn.Linear(3, 6), nn.Linear(6, 5), nn.Linear(5, 6)
        self.head = nn.Linear(6, 2)

    def norm(self, x: Tensor) -> Tensor:
        if self.explicit:
            return x * torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + 1e-5)
        return functional.rms_norm(x, (6,), eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = x + self.down(functional.gelu(self.up(self.norm(x))))
        return self.head(self.norm(x))


class ExactNorm(nn.Module):
    """Division by the length, without an epsilon: the scale before it is free."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.c = nn.Linear(3, 5, bias=False), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.a(x))
        return self.c(h / h.norm(dim=-1, keepdim=True))


class PlainNorm(nn.Module):
    """Layer normalisation without gain between linear maps."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.n, self.c = nn.Linear(3, 5), nn.LayerNorm(5, elementwise_affine=False), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.n(self.a(x)))


class Summed(nn.Module):
    """Linear units that are also summed: what mixes them has to keep the vector of ones."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.c = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        return self.c(h) + h.sum(dim=-1, keepdim=True)


class Positions(nn.Module):
    """A fixed table is added to the hidden units."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.c = nn.Linear(3, 5), nn.Linear(5, 2)
        self.register_buffer("table", torch.arange(5.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.relu(self.a(x) + self.table))


class Sliced(nn.Module):
    """Two halves of one layer go different ways."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 8), nn.Linear(5, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        return self.b(torch.tanh(h[:, :5])) + self.c(torch.relu(h[:, 5:]))


class Hadamard(nn.Module):
    """u * w * x, entry by entry."""

    def __init__(self) -> None:
        super().__init__()
        self.u, self.w = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.u * self.w * x


BANK: dict[str, Case] = {
    "mlp_relu": Case(
        lambda: mlp(nn.ReLU),
        (4, 3),
        """
        permutation | S(5) | 0.weight[0] 0.bias[0] 2.weight[1]
        permutation | S(4) | 2.weight[0] 2.bias[0] 4.weight[1]
        positive rescaling | (R>0)^5 | 0.weight[0] 0.bias[0] 2.weight[1]
        positive rescaling | (R>0)^4 | 2.weight[0] 2.bias[0] 4.weight[1]
    """,
    ),
    "mlp_tanh": Case(
        lambda: mlp(nn.Tanh),
        (4, 3),
        """
        permutation | S(5) | 0.weight[0] 0.bias[0] 2.weight[1]
        permutation | S(4) | 2.weight[0] 2.bias[0] 4.weight[1]
        sign flip | Z2^5 | 0.weight[0] 0.bias[0] 2.weight[1]
        sign flip | Z2^4 | 2.weight[0] 2.bias[0] 4.weight[1]
    """,
    ),
    "mlp_gelu": Case(
        lambda: mlp(nn.GELU),
        (4, 3),
        """
        permutation | S(5) | 0.weight[0] 0.bias[0] 2.weight[1]
        permutation | S(4) | 2.weight[0] 2.bias[0] 4.weight[1]
    """,
    ),
    "mlp_identity": Case(
        lambda: mlp(nn.Identity),
        (4, 3),
        """
        double rotation | GL(5) | 0.weight[0] 0.bias[0] 2.weight[1]
        double rotation | GL(4) | 2.weight[0] 2.bias[0] 4.weight[1]
    """,
    ),
    "mlp_leaky_relu": Case(
        lambda: mlp(nn.LeakyReLU),
        (4, 3),
        """
        permutation | S(5) | 0.weight[0] 0.bias[0] 2.weight[1]
        permutation | S(4) | 2.weight[0] 2.bias[0] 4.weight[1]
        positive rescaling | (R>0)^5 | 0.weight[0] 0.bias[0] 2.weight[1]
        positive rescaling | (R>0)^4 | 2.weight[0] 2.bias[0] 4.weight[1]
    """,
    ),
    "mlp_silu": Case(
        lambda: mlp(nn.SiLU),
        (4, 3),
        """
        permutation | S(5) | 0.weight[0] 0.bias[0] 2.weight[1]
        permutation | S(4) | 2.weight[0] 2.bias[0] 4.weight[1]
    """,
    ),
    "mlp_softplus": Case(
        lambda: mlp(nn.Softplus),
        (4, 3),
        """
        permutation | S(5) | 0.weight[0] 0.bias[0] 2.weight[1]
        permutation | S(4) | 2.weight[0] 2.bias[0] 4.weight[1]
    """,
    ),
    "mlp_relu_no_bias": Case(
        lambda: mlp(nn.ReLU, bias=False),
        (4, 3),
        """
        permutation | S(5) | 0.weight[0] 2.weight[1]
        permutation | S(4) | 2.weight[0] 4.weight[1]
        positive rescaling | (R>0)^5 | 0.weight[0] 2.weight[1]
        positive rescaling | (R>0)^4 | 2.weight[0] 4.weight[1]
    """,
    ),
    "mlp_tanh_no_bias": Case(
        lambda: mlp(nn.Tanh, bias=False),
        (4, 3),
        """
        permutation | S(5) | 0.weight[0] 2.weight[1]
        permutation | S(4) | 2.weight[0] 4.weight[1]
        sign flip | Z2^5 | 0.weight[0] 2.weight[1]
        sign flip | Z2^4 | 2.weight[0] 4.weight[1]
    """,
    ),
    "mlp_prelu": Case(
        lambda: nn.Sequential(nn.Linear(3, 5), nn.PReLU(5), nn.Linear(5, 2)),
        (4, 3),
        """
        permutation | S(5) | 0.weight[0] 0.bias[0] 1.weight[0] 2.weight[1]
        positive rescaling | (R>0)^5 | 0.weight[0] 0.bias[0] 2.weight[1]
    """,
    ),
    "cnn": Case(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 5, 3),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(45, 3),
        ),
        (2, 2, 12, 12),
        """
        permutation | S(4) | 0.weight[0] 0.bias[0] 3.weight[1]
        permutation | S(5) | 3.weight[0] 3.bias[0] 6.weight[1]
        sign flip | Z2^5 | 3.weight[0] 3.bias[0] 6.weight[1]
        positive rescaling | (R>0)^4 | 0.weight[0] 0.bias[0] 3.weight[1]
    """,
    ),
    "vgg": Case(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16, 6),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(6, 3),
        ),
        (2, 2, 8, 8),
        """
        permutation | S(4) | 0.weight[0] 0.bias[0] 1.weight[0] 1.bias[0] 6.weight[1] 1.running_mean[0]
            1.running_var[0]
        permutation | S(6) | 6.weight[0] 6.bias[0] 9.weight[1]
        positive rescaling | (R>0)^4 | 1.weight[0] 1.bias[0] 6.weight[1]
        rescaling | (R*)^4 | 0.weight[0] 0.bias[0] 1.weight[0] 1.running_mean[0]
        positive rescaling | (R>0)^6 | 6.weight[0] 6.bias[0] 9.weight[1]
    """,
    ),
    "resnet": Case(
        lambda: ResNet(norm=True),
        (2, 3, 8, 8),
        """
        permutation | S(4) | stem.weight[0] b1.c1.weight[1] b1.c2.weight[0] b1.n2.weight[0] b1.n2.bias[0]
            b2.c1.weight[1] b2.down.weight[1] b1.n2.running_mean[0] b1.n2.running_var[0]
        permutation | S(4) | b1.c1.weight[0] b1.c2.weight[1] b1.n1.weight[0] b1.n1.bias[0] b1.n1.running_mean[0]
            b1.n1.running_var[0]
        permutation | S(6) | b2.c1.weight[0] b2.c2.weight[1] b2.n1.weight[0] b2.n1.bias[0] b2.n1.running_mean[0]
            b2.n1.running_var[0]
        permutation | S(6) | b2.c2.weight[0] b2.n2.weight[0] b2.n2.bias[0] b2.down.weight[0] fc.weight[1]
            b2.n2.running_mean[0] b2.n2.running_var[0]
        positive rescaling | (R>0)^4 | b1.c2.weight[1] b1.n1.weight[0] b1.n1.bias[0]
        rescaling | (R*)^4 | b1.c1.weight[0] b1.n1.weight[0] b1.n1.running_mean[0]
        positive rescaling | (R>0)^6 | b2.c2.weight[1] b2.n1.weight[0] b2.n1.bias[0]
        rescaling | (R*)^6 | b2.c1.weight[0] b2.n1.weight[0] b2.n1.running_mean[0]
        positive rescaling | (R>0)^4 | stem.weight[0] b1.c1.weight[1] b1.n2.weight[0] b1.n2.bias[0]
            b2.c1.weight[1] b2.down.weight[1]
        rescaling | (R*)^4 | b1.c2.weight[0] b1.n2.weight[0] b1.n2.running_mean[0]
        positive rescaling | (R>0)^6 | b2.n2.weight[0] b2.n2.bias[0] b2.down.weight[0] fc.weight[1]
        rescaling | (R*)^6 | b2.c2.weight[0] b2.n2.weight[0] b2.n2.running_mean[0]
    """,
    ),
    "resnet_no_norm": Case(
        lambda: ResNet(norm=False),
        (2, 3, 8, 8),
        """
        permutation | S(4) | stem.weight[0] b1.c1.weight[1] b1.c2.weight[0] b1.c2.bias[0] b2.c1.weight[1]
            b2.down.weight[1]
        permutation | S(4) | b1.c1.weight[0] b1.c1.bias[0] b1.c2.weight[1]
        permutation | S(6) | b2.c1.weight[0] b2.c1.bias[0] b2.c2.weight[1]
        permutation | S(6) | b2.c2.weight[0] b2.c2.bias[0] b2.down.weight[0] fc.weight[1]
        positive rescaling | (R>0)^4 | b1.c1.weight[0] b1.c1.bias[0] b1.c2.weight[1]
        positive rescaling | (R>0)^6 | b2.c1.weight[0] b2.c1.bias[0] b2.c2.weight[1]
        positive rescaling | (R>0)^4 | stem.weight[0] b1.c1.weight[1] b1.c2.weight[0] b1.c2.bias[0]
            b2.c1.weight[1] b2.down.weight[1]
        positive rescaling | (R>0)^6 | b2.c2.weight[0] b2.c2.bias[0] b2.down.weight[0] fc.weight[1]
    """,
    ),
    "unet": Case(
        UNet,
        (2, 2, 8, 8),
        """
        permutation | S(4) | d1.weight[0] d1.bias[0] d2.weight[1] u1.weight[1]
        permutation | S(5) | d2.weight[0] d2.bias[0] up.weight[0]
        permutation | S(3) | up.weight[1] up.bias[0] u1.weight[1]
        permutation | S(6) | u1.weight[0] u1.bias[0] out.weight[1]
    """,
    ),
    "vit": Case(
        ViT,
        (2, 3, 8, 8),
        """
        double rotation | GL(3)^2 | block.attn.qkv.weight[0] block.attn.qkv.bias[0]
        double rotation | GL(3)^2 | block.attn.qkv.weight[0] block.attn.qkv.bias[0] block.attn.proj.weight[1]
        permutation | S(6) | cls[2] pos[2] patch.weight[0] patch.bias[0] block.n1.weight[0] block.n1.bias[0]
            block.attn.qkv.weight[1] block.attn.proj.weight[0] block.attn.proj.bias[0] block.n2.weight[0]
            block.n2.bias[0] block.mlp.0.weight[1] block.mlp.2.weight[0] block.mlp.2.bias[0] norm.weight[0]
            norm.bias[0] head.weight[1]
        permutation | S(2) | block.attn.qkv.weight[0] block.attn.qkv.bias[0] block.attn.proj.weight[1]
        permutation | S(12) | block.mlp.0.weight[0] block.mlp.0.bias[0] block.mlp.2.weight[1]
        rescaling | (R*)^6 | block.n1.weight[0] block.n1.bias[0] block.attn.qkv.weight[1]
        rescaling | (R*)^6 | block.n2.weight[0] block.n2.bias[0] block.mlp.0.weight[1]
        rescaling | (R*)^6 | norm.weight[0] norm.bias[0] head.weight[1]
        sign flip | Z2 | cls[] pos[] patch.weight[] patch.bias[] block.n1.weight[] block.attn.proj.weight[]
            block.attn.proj.bias[] block.n2.weight[] block.mlp.2.weight[] block.mlp.2.bias[] norm.weight[]
    """,
    ),
    "gpt": Case(
        GPT,
        (2, 5),
        """
        double rotation | GL(3)^2 | h.0.attn.qkv.weight[0] h.0.attn.qkv.bias[0]
        double rotation | GL(3)^2 | h.0.attn.qkv.weight[0] h.0.attn.qkv.bias[0] h.0.attn.proj.weight[1]
        permutation | S(6) | wte.weight[1] wpe.weight[1] h.0.n1.weight[0] h.0.n1.bias[0] h.0.attn.qkv.weight[1]
            h.0.attn.proj.weight[0] h.0.attn.proj.bias[0] h.0.n2.weight[0] h.0.n2.bias[0] h.0.mlp.0.weight[1]
            h.0.mlp.2.weight[0] h.0.mlp.2.bias[0] nf.weight[0] nf.bias[0]
        permutation | S(2) | h.0.attn.qkv.weight[0] h.0.attn.qkv.bias[0] h.0.attn.proj.weight[1]
        permutation | S(12) | h.0.mlp.0.weight[0] h.0.mlp.0.bias[0] h.0.mlp.2.weight[1]
        rescaling | (R*)^6 | h.0.n1.weight[0] h.0.n1.bias[0] h.0.attn.qkv.weight[1]
        rescaling | (R*)^6 | h.0.n2.weight[0] h.0.n2.bias[0] h.0.mlp.0.weight[1]
        sign flip | Z2 | wte.weight[] wpe.weight[] h.0.n1.weight[] h.0.attn.proj.weight[] h.0.attn.proj.bias[]
            h.0.n2.weight[] h.0.mlp.2.weight[] h.0.mlp.2.bias[] nf.bias[]
    """,
        integers=11,
    ),
    "gqa": Case(
        Grouped,
        (2, 4, 5),
        """
        double rotation | GL(3)^2 | q.weight[0] q.bias[0] k.weight[0] k.bias[0]
        double rotation | GL(3)^2 | v.weight[0] v.bias[0] o.weight[1]
        permutation | S(2) | q.weight[0] q.bias[0] k.weight[0] k.bias[0] v.weight[0] v.bias[0] o.weight[1]
        permutation | S(2)^2 | q.weight[0] q.bias[0] o.weight[1]
    """,
    ),
    "swiglu": Case(
        SwiGLU,
        (4, 3),
        """
        permutation | S(5) | gate.weight[0] up.weight[0] down.weight[1]
        rescaling | (R*)^5 | up.weight[0] down.weight[1]
    """,
    ),
    "soft_moe": Case(
        SoftMoE,
        (4, 3),
        """
        permutation | S(4) | w1[0] w2[0] gate.weight[0] gate.bias[0]
        permutation | S(5)^4 | w1[2] w2[1]
        positive rescaling | (R>0)^20 | w1[0,2] w2[0,1]
    """,
    ),
    "expert_list": Case(
        lambda: ExpertList(stacked=False),
        (4, 3),
        """
        permutation | S(4) | experts.0.0.weight[0] experts.0.0.bias[0] experts.0.2.weight[1]
        permutation | S(4) | experts.1.0.weight[0] experts.1.0.bias[0] experts.1.2.weight[1]
        permutation | S(2) | gate.weight[0] gate.bias[0] experts.0.0.weight[] experts.0.0.bias[] experts.0.2.weight[]
            experts.0.2.bias[] experts.1.0.weight[] experts.1.0.bias[] experts.1.2.weight[] experts.1.2.bias[]
    """,
    ),
    "expert_list_stacked": Case(
        lambda: ExpertList(stacked=True),
        (4, 3),
        """
        permutation | S(4) | experts.0.0.weight[0] experts.0.0.bias[0] experts.0.2.weight[1]
        permutation | S(4) | experts.1.0.weight[0] experts.1.0.bias[0] experts.1.2.weight[1]
        permutation | S(2) | gate.weight[0] gate.bias[0] experts.0.0.weight[] experts.0.0.bias[] experts.0.2.weight[]
            experts.0.2.bias[] experts.1.0.weight[] experts.1.0.bias[] experts.1.2.weight[] experts.1.2.bias[]
    """,
    ),
    "head_list": Case(
        HeadList,
        (2, 4, 4),
        """
        double rotation | GL(3) | heads.0.0.weight[0] heads.0.0.bias[0] heads.0.1.weight[0] heads.0.1.bias[0]
        double rotation | GL(3) | heads.1.0.weight[0] heads.1.0.bias[0] heads.1.1.weight[0] heads.1.1.bias[0]
        double rotation | GL(3) | heads.0.2.weight[0] heads.0.2.bias[0] out.weight[1]
        double rotation | GL(3) | heads.1.2.weight[0] heads.1.2.bias[0] out.weight[1]
        permutation | S(2) | heads.0.0.weight[] heads.0.0.bias[] heads.0.1.weight[] heads.0.1.bias[] heads.0.2.weight[]
            heads.0.2.bias[] heads.1.0.weight[] heads.1.0.bias[] heads.1.1.weight[] heads.1.1.bias[]
            heads.1.2.weight[] heads.1.2.bias[] out.weight[1]
    """,
    ),
    "excitation": Case(
        Excitation,
        (2, 2, 5, 5),
        """
        permutation | S(6) | a.weight[0] a.bias[0] s1.weight[1] s2.weight[0] s2.bias[0] b.weight[1]
        permutation | S(3) | s1.weight[0] s1.bias[0] s2.weight[1]
        positive rescaling | (R>0)^6 | a.weight[0] a.bias[0] s1.weight[1] b.weight[1]
        positive rescaling | (R>0)^3 | s1.weight[0] s1.bias[0] s2.weight[1]
    """,
    ),
    "convnext": Case(
        ConvNeXt,
        (2, 2, 5, 5),
        """
        permutation | S(4) | g[0] stem.weight[0] stem.bias[0] dw.weight[0] dw.bias[0] n.weight[0] n.bias[0] a.weight[1]
            b.weight[0] b.bias[0] h.weight[1]
        permutation | S(8) | a.weight[0] a.bias[0] b.weight[1]
        rescaling | (R*)^4 | n.weight[0] n.bias[0] a.weight[1]
        rescaling | (R*)^4 | g[0] b.weight[0] b.bias[0]
        rescaling | (R*)^4 | g[0] stem.weight[0] stem.bias[0] dw.weight[0] h.weight[1]
        sign flip | Z2 | dw.weight[] dw.bias[] n.weight[]
    """,
    ),
    "shuffle": Case(
        Shuffle,
        (2, 2, 5, 5),
        """
        permutation | S(2) | a.weight[0] a.bias[0] b.weight[0] b.bias[0] c.weight[1]
        permutation | S(3)^2 | a.weight[0] a.bias[0] b.weight[1]
        permutation | S(3) | b.weight[0] b.bias[0] c.weight[0] c.bias[0] d.weight[1]
        permutation | S(2)^3 | c.weight[0] c.bias[0] d.weight[1]
        positive rescaling | (R>0)^6 | a.weight[0] a.bias[0] b.weight[0,1]
        positive rescaling | (R>0)^6 | b.weight[0] b.bias[0] c.weight[0,1]
        positive rescaling | (R>0)^6 | c.weight[0] c.bias[0] d.weight[1]
    """,
    ),
    "rotary_halves": Case(
        lambda: Rotary(halves=True),
        (2, 5, 3),
        """
        double rotation | GL(4)^2 | v.weight[0] o.weight[1]
        permutation | S(2) | q.weight[0] k.weight[0] v.weight[0] o.weight[1]
        rescaling | (R*)^4 | q.weight[0] k.weight[0]
        planar rotation | SO(2)^4 | q.weight[0] k.weight[0]
    """,
    ),
    "rotary_neighbours": Case(
        lambda: Rotary(halves=False),
        (2, 5, 3),
        """
        double rotation | GL(4)^2 | v.weight[0] o.weight[1]
        permutation | S(2) | q.weight[0] k.weight[0] v.weight[0] o.weight[1]
        rescaling | (R*)^4 | q.weight[0] k.weight[0]
        planar rotation | SO(2)^4 | q.weight[0] k.weight[0]
    """,
    ),
    "weight_norm": Case(
        WeightNorm,
        (4, 3),
        """
        permutation | S(5) | a.bias[0] a.parametrizations.weight.original0[0] a.parametrizations.weight.original1[0]
            b.weight[1]
        scale invariance | (R>0)^5 | a.parametrizations.weight.original1[0]
        positive rescaling | (R>0)^5 | a.bias[0] a.parametrizations.weight.original0[0] b.weight[1]
        sign flip | Z2^5 | a.parametrizations.weight.original0[0] a.parametrizations.weight.original1[0]
    """,
    ),
    "grouped_transposed": Case(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 1), nn.ReLU(), nn.ConvTranspose2d(4, 6, 2, 2, groups=2), nn.Tanh(), nn.Conv2d(6, 2, 1)
        ),
        (2, 2, 4, 4),
        """
        permutation | S(2) | 0.weight[0] 0.bias[0] 2.weight[0] 2.bias[0] 4.weight[1]
        permutation | S(2)^2 | 0.weight[0] 0.bias[0] 2.weight[0]
        permutation | S(3)^2 | 2.weight[1] 2.bias[0] 4.weight[1]
        sign flip | Z2^6 | 2.weight[0,1] 2.bias[0] 4.weight[1]
        positive rescaling | (R>0)^4 | 0.weight[0] 0.bias[0] 2.weight[0]
    """,
    ),
    "lstm": Case(
        lambda: Recurrent(nn.LSTM),
        (2, 5, 3),
        """
        permutation | S(4) | rnn.weight_ih_l0[0] rnn.weight_hh_l0[0,1] rnn.bias_ih_l0[0] rnn.bias_hh_l0[0]
            head.weight[1]
        sign flip | Z2^4 | rnn.weight_ih_l0[0] rnn.weight_hh_l0[0,1] rnn.bias_ih_l0[0] rnn.bias_hh_l0[0]
            head.weight[1]
    """,
    ),
    "lstm_two_layers": Case(
        lambda: Recurrent(nn.LSTM, num_layers=2),
        (2, 5, 3),
        """
        permutation | S(4) | rnn.weight_ih_l0[0] rnn.weight_hh_l0[0,1] rnn.bias_ih_l0[0] rnn.bias_hh_l0[0]
            rnn.weight_ih_l1[1]
        permutation | S(4) | rnn.weight_ih_l1[0] rnn.weight_hh_l1[0,1] rnn.bias_ih_l1[0] rnn.bias_hh_l1[0]
            head.weight[1]
        sign flip | Z2^4 | rnn.weight_ih_l0[0] rnn.weight_hh_l0[0,1] rnn.bias_ih_l0[0] rnn.bias_hh_l0[0]
            rnn.weight_ih_l1[1]
        sign flip | Z2^4 | rnn.weight_ih_l1[0] rnn.weight_hh_l1[0,1] rnn.bias_ih_l1[0] rnn.bias_hh_l1[0]
            head.weight[1]
    """,
    ),
    "gru": Case(
        lambda: Recurrent(nn.GRU),
        (2, 5, 3),
        """
        permutation | S(4) | rnn.weight_ih_l0[0] rnn.weight_hh_l0[0,1] rnn.bias_ih_l0[0] rnn.bias_hh_l0[0]
            head.weight[1]
        sign flip | Z2^4 | rnn.weight_ih_l0[0] rnn.weight_hh_l0[0,1] rnn.bias_ih_l0[0] rnn.bias_hh_l0[0]
            head.weight[1]
    """,
    ),
    "rnn_relu": Case(
        lambda: Recurrent(nn.RNN, nonlinearity="relu"),
        (2, 5, 3),
        """
        permutation | S(4) | rnn.weight_ih_l0[0] rnn.weight_hh_l0[0,1] rnn.bias_ih_l0[0] rnn.bias_hh_l0[0]
            head.weight[1]
        positive rescaling | (R>0)^4 | rnn.weight_ih_l0[0] rnn.weight_hh_l0[0,1] rnn.bias_ih_l0[0]
            rnn.bias_hh_l0[0] head.weight[1]
    """,
    ),
    "autoencoder": Case(
        lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)),
        (4, 4),
        """
        double rotation | GL(3) | 2.weight[0] 2.bias[0] 3.weight[1]
        permutation | S(6) | 0.weight[0] 0.bias[0] 2.weight[1]
        permutation | S(5) | 3.weight[0] 3.bias[0] 5.weight[1]
        positive rescaling | (R>0)^6 | 0.weight[0] 0.bias[0] 2.weight[1]
        sign flip | Z2^5 | 3.weight[0] 3.bias[0] 5.weight[1]
    """,
    ),
    "vae": Case(
        VAE,
        (4, 4),
        """
        permutation | S(5) | enc.weight[0] enc.bias[0] mu.weight[1] logvar.weight[1]
        permutation | S(3) | mu.weight[0] mu.bias[0] logvar.weight[0] logvar.bias[0] dec1.weight[1]
        permutation | S(6) | dec1.weight[0] dec1.bias[0] dec2.weight[1]
        sign flip | Z2^6 | dec1.weight[0] dec1.bias[0] dec2.weight[1]
        positive rescaling | (R>0)^5 | enc.weight[0] enc.bias[0] mu.weight[1] logvar.weight[1]
    """,
    ),
    "siamese": Case(
        Siamese,
        (4, 3),
        """
        rotation | O(4) | enc.2.weight[0] enc.2.bias[0]
        permutation | S(5) | enc.0.weight[0] enc.0.bias[0] enc.2.weight[1]
        sign flip | Z2^5 | enc.0.weight[0] enc.0.bias[0] enc.2.weight[1]
    """,
    ),
    "tied_autoencoder": Case(
        TiedAutoencoder,
        (4, 4),
        """
        permutation | S(5) | w[0] b[0]
        sign flip | Z2^5 | w[0] b[0]
    """,
    ),
    "depthwise_separable": Case(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.ReLU(), nn.Conv2d(4, 3, 1)
        ),
        (2, 2, 6, 6),
        """
        permutation | S(4) | 0.weight[0] 0.bias[0] 2.weight[0] 2.bias[0] 4.weight[1]
        positive rescaling | (R>0)^4 | 0.weight[0] 0.bias[0] 2.weight[0]
        positive rescaling | (R>0)^4 | 2.weight[0] 2.bias[0] 4.weight[1]
    """,
    ),
    "grouped_conv": Case(
        lambda: nn.Sequential(
            nn.Conv2d(2, 6, 1), nn.Tanh(), nn.Conv2d(6, 4, 3, groups=2), nn.ReLU(), nn.Conv2d(4, 3, 1)
        ),
        (2, 2, 6, 6),
        """
        permutation | S(2) | 0.weight[0] 0.bias[0] 2.weight[0] 2.bias[0] 4.weight[1]
        permutation | S(3)^2 | 0.weight[0] 0.bias[0] 2.weight[1]
        permutation | S(2)^2 | 2.weight[0] 2.bias[0] 4.weight[1]
        sign flip | Z2^6 | 0.weight[0] 0.bias[0] 2.weight[0,1]
        positive rescaling | (R>0)^4 | 2.weight[0] 2.bias[0] 4.weight[1]
    """,
    ),
    "group_norm": Case(
        lambda: nn.Sequential(nn.Conv2d(2, 6, 3), nn.GroupNorm(2, 6), nn.GELU(), nn.Conv2d(6, 3, 3)),
        (2, 2, 8, 8),
        """
        permutation | S(2) | 0.weight[0] 0.bias[0] 1.weight[0] 1.bias[0] 3.weight[1]
        permutation | S(3)^2 | 0.weight[0] 0.bias[0] 1.weight[0] 1.bias[0] 3.weight[1]
        sign flip | Z2^2 | 0.weight[0] 0.bias[0] 1.weight[0]
    """,
    ),
    "deep_sets": Case(
        DeepSets,
        (2, 4, 3),
        """
        double rotation | GL(4) | phi.2.weight[0] phi.2.bias[0] rho.0.weight[1]
        permutation | S(5) | phi.0.weight[0] phi.0.bias[0] phi.2.weight[1]
        permutation | S(6) | rho.0.weight[0] rho.0.bias[0] rho.2.weight[1]
        positive rescaling | (R>0)^5 | phi.0.weight[0] phi.0.bias[0] phi.2.weight[1]
        positive rescaling | (R>0)^6 | rho.0.weight[0] rho.0.bias[0] rho.2.weight[1]
    """,
    ),
    "mixer": Case(
        Mixer,
        (2, 4, 3),
        """
        permutation | S(6) | embed.weight[0] embed.bias[0] n1.weight[0] n1.bias[0] n2.weight[0] n2.bias[0]
            channels.0.weight[1] channels.2.weight[0] channels.2.bias[0] head.weight[1]
        permutation | S(5) | tokens.0.weight[0] tokens.0.bias[0] tokens.2.weight[1]
        permutation | S(7) | channels.0.weight[0] channels.0.bias[0] channels.2.weight[1]
        rescaling | (R*)^6 | n2.weight[0] n2.bias[0] channels.0.weight[1]
        rescaling | R* | n1.weight[] n1.bias[] tokens.0.weight[]
        sign flip | Z2 | embed.weight[] embed.bias[] n1.weight[] n2.weight[] tokens.2.weight[]
            tokens.2.bias[] channels.2.weight[] channels.2.bias[] head.weight[]
    """,
    ),
    "equivariant": Case(
        Equivariant,
        (2, 4, 3),
        """
        permutation | S(5) | a.weight[0] a.bias[0] b.weight[0] head.weight[1]
        positive rescaling | (R>0)^5 | a.weight[0] a.bias[0] b.weight[0] head.weight[1]
    """,
    ),
    "circulant": Case(
        Circulant,
        (2, 4),
        """
        sign flip | Z2 | c[] head.weight[]
    """,
    ),
    "frozen": Case(Frozen, (4, 3), ""),
    "shared": Case(
        Shared,
        (4, 3),
        """
        permutation | S(5) | a.weight[0] a.bias[0] layer.weight[0,1] layer.bias[0] c.weight[1]
        positive rescaling | (R>0)^5 | a.weight[0] a.bias[0] layer.weight[0,1] layer.bias[0] c.weight[1]
    """,
    ),
    "rms_stream": Case(
        lambda: RMSStream(explicit=False),
        (2, 4, 3),
        """
        rotation | O(6) | embed.weight[0] embed.bias[0] up.weight[1] down.weight[0] down.bias[0] head.weight[1]
        permutation | S(5) | up.weight[0] up.bias[0] down.weight[1]
    """,
    ),
    "rms_stream_written_out": Case(
        lambda: RMSStream(explicit=True),
        (2, 4, 3),
        """
        rotation | O(6) | embed.weight[0] embed.bias[0] up.weight[1] down.weight[0] down.bias[0] head.weight[1]
        permutation | S(5) | up.weight[0] up.bias[0] down.weight[1]
    """,
    ),
    "exact_norm": Case(
        ExactNorm,
        (4, 3),
        """
        permutation | S(5) | a.weight[0] c.weight[1]
        scale invariance | R>0 | a.weight[]
    """,
    ),
    "plain_norm": Case(
        PlainNorm,
        (4, 3),
        """
        rotation fixing ones | O(4) | a.weight[0] a.bias[0] c.weight[1]
        sign flip | Z2 | a.weight[] a.bias[] c.weight[]
    """,
    ),
    "summed": Case(
        Summed,
        (4, 3),
        """
        rotation fixing ones | O(4) | a.weight[0] a.bias[0] c.weight[1]
    """,
    ),
    "positions": Case(Positions, (4, 3), ""),
    "sliced": Case(
        Sliced,
        (4, 3),
        """
        permutation | S(5) | a.weight[0] a.bias[0] b.weight[1]
        permutation | S(3) | a.weight[0] a.bias[0] c.weight[1]
        positive rescaling | (R>0)^3 | a.weight[0] a.bias[0] c.weight[1]
        sign flip | Z2^5 | a.weight[0] a.bias[0] b.weight[1]
    """,
    ),
    "hadamard": Case(
        Hadamard,
        (4, 4),
        """
        permutation | S(2) | u[] w[]
        rescaling | (R*)^4 | u[0] w[0]
    """,
    ),
    "mha": Case(
        lambda: nn.TransformerEncoderLayer(6, 2, 5, batch_first=True),
        (2, 3, 6),
        """
        double rotation | GL(3)^2 | self_attn.in_proj_weight[0] self_attn.in_proj_bias[0]
        double rotation | GL(3)^2 | self_attn.in_proj_weight[0] self_attn.in_proj_bias[0] self_attn.out_proj.weight[1]
        permutation | S(2) | self_attn.in_proj_weight[0] self_attn.in_proj_bias[0] self_attn.out_proj.weight[1]
        permutation | S(5) | linear1.weight[0] linear1.bias[0] linear2.weight[1]
        positive rescaling | (R>0)^5 | linear1.weight[0] linear1.bias[0] linear2.weight[1]
        sign flip | Z2 | linear1.weight[] linear2.weight[] linear2.bias[] norm1.weight[] norm1.bias[] norm2.weight[]
    """,
    ),
    "residual_linear": Case(
        lambda: nn.Sequential(nn.Linear(3, 5), Residual(nn.Linear(5, 5)), nn.Linear(5, 2)),
        (4, 3),
        """
        double rotation | GL(5) | 0.weight[0] 0.bias[0] 1.inner.weight[0,1] 1.inner.bias[0] 2.weight[1]
    """,
    ),
}
