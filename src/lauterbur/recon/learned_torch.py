"""The unrolled network of learned_network.py in torch, for training and tuning alone; `packed` writes what images are made with.

Both must say the same: training/train.py checks it with every file of weights that it writes. Needs the extra "train".
"""

from __future__ import annotations

import io
import math
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lauterbur.recon.learned_network import MEMORY, STEPS, TOLD, Weights


class _Normal(torch.autograd.Function):
    """The normal operator on images (batch, a, b). It is its own adjoint: the gradient needs no receiver's image kept, and half of the time."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, maps: Tensor, backwards: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(maps, backwards, mask)
        seen = torch.fft.fft2(maps * image[:, None])
        found = torch.fft.ifft2(seen.mul_(mask))
        return found.mul_(backwards).sum(1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return _Normal.forward(ctx, gradients[0], *ctx.saved_tensors), None, None, None


class Unrolled(nn.Module):
    """`groups` sets of kernels for `turns` turns, each with biases and a trust in the data of its own."""

    def __init__(self, turns: int, groups: int, width: int, depth: int):
        super().__init__()
        sizes = [TOLD + MEMORY, *[width] * (depth - 1), 8 + MEMORY]
        self.group = [t * groups // turns for t in range(turns)]
        self.kernels = nn.ModuleList(
            nn.ParameterList(nn.Parameter(torch.empty(m, n, 3, 3)) for n, m in pairwise(sizes)) for _ in range(groups)
        )
        self.biases = nn.ModuleList(
            nn.ParameterList(nn.Parameter(torch.zeros(m)) for m in sizes[1:]) for _ in range(turns)
        )
        self.trust = nn.Parameter(torch.tensor([[math.log(2.0), 1.0]] * turns))
        for kernels in self.kernels:
            for kernel in kernels:
                nn.init.kaiming_normal_(kernel, nonlinearity="relu")
            nn.init.normal_(kernels[-1], std=3e-3)

    def denoised(
        self, t: int, image: Tensor, least: Tensor, memory: Tensor, told: Tensor, fraction: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(batch, a, b) complex and memory (batch, MEMORY, a/2, b/2), odd lengths with a line of zeros."""
        kernels, biases = self.kernels[self.group[t]], self.biases[t]
        a, b = image.shape[1:]
        both = torch.cat([torch.view_as_real(one).permute(0, 3, 1, 2) for one in (image, least)], 1)
        both = functional.pad(both, (0, b % 2, 0, a % 2))
        parts = functional.pixel_unshuffle(both, 2)
        flat = torch.stack([told, fraction], 1)[:, :, None, None].expand(-1, -1, *parts.shape[2:])
        layer = torch.cat([parts, flat, memory], 1)
        for i, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
            layer = functional.conv2d(layer, kernel, bias, padding=1)
            if i + 1 < len(kernels):
                layer = torch.relu(layer)
        change = functional.pixel_shuffle(layer[:, :8], 2)[:, :, :a, :b].permute(0, 2, 3, 1).contiguous()
        return image + torch.view_as_complex(change), layer[:, 8:]

    def forward(
        self, least: Tensor, start: Tensor, right: Tensor, maps: Tensor, mask: Tensor, told: Tensor, fraction: Tensor
    ) -> list[Tensor]:
        """The image (batch, a, b) after every turn. All scaled to brightness 1; the mask with k = 0 in the corner."""
        inside = (maps.abs().amax(1) > 0).to(maps.real.dtype)
        memory = torch.zeros(len(start), MEMORY, (start.shape[1] + 1) // 2, (start.shape[2] + 1) // 2)
        image, found = start, []

        backwards = maps.conj().resolve_conj()

        def normal(x: Tensor) -> Tensor:
            return cast(Tensor, _Normal.apply(x, maps, backwards, mask[:, None]))

        for t in range(len(self.group)):
            better, memory = self.denoised(t, image, least, memory, told, fraction)
            better = better * inside
            ridge = torch.exp(self.trust[t, 0] + self.trust[t, 1] * told)[:, None, None]
            image = conjugate_gradient(normal, right + ridge * better, ridge, better, STEPS)
            found.append(image)
        return found


def _dot(x: Tensor, y: Tensor) -> Tensor:
    return (x.real * y.real + x.imag * y.imag).sum((1, 2), keepdim=True)


def conjugate_gradient(normal, right: Tensor, ridge: Tensor, start: Tensor, steps: int) -> Tensor:
    """As lauterbur.recon.solvers, each member of the batch on its own."""
    image = start
    residual = right - normal(start) - ridge * start
    direction, slope = residual, _dot(residual, residual)
    for i in range(steps):
        turned = normal(direction) + ridge * direction
        step = slope / (_dot(direction, turned) + 1e-20)
        image = image + step * direction
        if i + 1 < steps:
            residual = residual - step * turned
            before, slope = slope, _dot(residual, residual)
            direction = residual + slope / (before + 1e-20) * direction
    return image


def packed(network: Unrolled) -> bytes:
    """An .npz as read by lauterbur.recon.learned_network.read_weights."""
    arrays: dict[str, Any] = {"group": np.array(network.group, np.int32)}
    for g, kernels in enumerate(network.kernels):
        arrays |= {f"kernel_{g}_{i}": k.detach().numpy().astype(np.float16) for i, k in enumerate(kernels)}
    for t, biases in enumerate(network.biases):
        arrays |= {f"bias_{t}_{i}": b.detach().numpy() for i, b in enumerate(biases)}
    arrays["trust"] = network.trust.detach().numpy()
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def network_of(weights: Weights) -> Unrolled:
    """The inverse of `packed`, of what read_weights reads."""
    first = weights.turns[0].kernels
    groups: list[int] = []  # turns that share kernels share the arrays
    for t, turn in enumerate(weights.turns):
        shared = [g for g, u in zip(groups, weights.turns, strict=False) if u.kernels is turn.kernels]
        groups.append(shared[0] if shared else (max(groups) + 1 if t else 0))
    network = Unrolled(len(weights.turns), max(groups) + 1, len(first[0]), len(first))
    network.group = groups
    with torch.no_grad():
        for t, turn in enumerate(weights.turns):
            mine = network.kernels[groups[t]]
            for parameter, value in zip([*mine, *network.biases[t]], [*turn.kernels, *turn.biases], strict=True):
                parameter.copy_(torch.from_numpy(value))
            network.trust[t] = torch.tensor(turn.trust)
    return network
