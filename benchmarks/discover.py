"""Discovery of symmetries: ResNet18 and a network of the size of GPT-2 small, random weights, two threads.

The reference is the time allowed, 3 s and 15 s; the ratio is how often the search fits into it. Memory is counted at
torch's allocator: what a process holds on to after freeing is the C library's business and can be more.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from benchmarks.timing import Timing
from symtheory.discover import discover

ALLOWED = {"ResNet18": 3.0, "GPT-2 small": 15.0}


class BasicBlock(nn.Module):
    """Two normalised convolutions beside a shortcut."""

    def __init__(self, i: int, o: int, stride: int) -> None:
        super().__init__()
        self.c1, self.n1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.c2, self.n2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        shortcut = [nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o)]
        self.down = nn.Sequential(*shortcut) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return functional.relu(self.n2(self.c2(functional.relu(self.n1(self.c1(x))))) + self.down(x))


def resnet18() -> nn.Module:
    """ResNet18 for a thousand classes.

    Returns:
        The network, 11.7 million parameters.
    """
    widths, blocks = (64, 64, 128, 256, 512), []
    for k in range(4):
        blocks += [BasicBlock(widths[k], widths[k + 1], 1 + (k > 0)), BasicBlock(widths[k + 1], widths[k + 1], 1)]
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


class Layer(nn.Module):
    """Causal attention and an MLP, each after a normalisation, each added to the stream."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads, self.n1, self.n2 = heads, nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(approximate="tanh"), nn.Linear(4 * d, d))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        b, t, d = x.shape
        q, k, v = (u.view(b, t, self.heads, -1).transpose(1, 2) for u in self.qkv(self.n1(x)).split(d, dim=2))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, d))
        return x + self.mlp(self.n2(x))


class GPT2(nn.Module):
    """GPT-2 small: 12 layers of width 768, tied embeddings, 124 million parameters."""

    def __init__(self, vocabulary: int = 50257, context: int = 1024, d: int = 768, heads: int = 12, layers: int = 12):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, d), nn.Embedding(context, d)
        self.layers, self.norm = nn.Sequential(*(Layer(d, heads) for _ in range(layers))), nn.LayerNorm(d)
        self.head = nn.Linear(d, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token at every position."""
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        return self.head(self.norm(self.layers(x)))


def peak(function: Callable[[], object]) -> int:
    """Most bytes that a call has from torch's allocator at a time, on the CPU, beyond what was there before.

    Args:
        function: What to call.

    Returns:
        Bytes.

    >>> peak(lambda: torch.ones(1000).exp()) >= 8000
    True
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        function()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        recorded.export_chrome_trace(str(path))
        events = [e for e in json.loads(path.read_text())["traceEvents"] if e.get("name") == "[memory]"]
    changes = [e["args"]["Bytes"] for e in sorted(events, key=lambda e: e["ts"])]
    return max(accumulate(changes), default=0)


def bench_discover(repeats: int = 3, threads: int = 2) -> list[Timing]:
    """Search both networks.

    Args:
        repeats: Searches of each; their median counts.
        threads: Of torch.

    Returns:
        A timing for each network; its error is the largest residual of a family.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    cases = {
        "ResNet18": (resnet18, torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))),
        "GPT-2 small": (GPT2, torch.arange(8)[None]),
    }
    try:
        # the first trace of a process imports the tracer; that is not the search
        discover(nn.Linear(2, 2), torch.ones(1, 2))
        found = []
        for name, (build, inputs) in cases.items():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model = build()
            reports = [discover(model, inputs) for _ in range(repeats)]
            seconds = median(sum(r.seconds.values()) for r in reports)
            error = max(f.residual for r in reports for f in r.families)
            size = sum(p.numel() * p.element_size() for p in model.parameters())
            memory = peak(partial(discover, model, inputs)) / size
            ratio = ALLOWED[name] / seconds
            found.append(
                Timing(f"discover {name}", ratio, seconds, ALLOWED[name], 0, error, memory=memory, kind="search")
            )
        return found
    finally:
        torch.set_num_threads(before)
