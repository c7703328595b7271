"""More networks with known parameter symmetries, as researchers write them.

The lists were derived by hand, before the search was run on any of these networks. The form is that of
:mod:`tests.architectures`. A few that are easily missed. A spectral norm in evaluation is odd in the weight, so the
whole weight may change its sign; its left vector moves along when a row is scaled. Factorisation machines, radial bases
and codebooks depend on the latent vectors through distances alone, so these may be rotated together. With normalised
queries and keys and gains that the heads share, a coordinate of one head changes its sign in query and key, a
coordinate of all heads in query and gain. Neighbouring channels of a local response normalisation must stay neighbours:
there is no permutation.
"""

from __future__ import annotations

import math

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
        positive rescaling | (R>0)^6 | n2.weight[0] n2.bias[0] c2.weight[1]
        positive rescaling | (R>0)^9 | n3.weight[0] n3.bias[0] out.weight[1]
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
        sign flip | Z2^6 | embed.weight[1] n1.weight[0] o.weight[0] n2.weight[0] down.weight[0] nf.weight[0]
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
        positive rescaling | (R>0)^5 | film.weight[0] film.bias[0] out.weight[1]
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
}
