"""The unrolled network of lauterbur.recon.learned_network in torch, for training alone; `packed` writes what the product reads.

Both must say the same: training/train.py checks it with every file of weights that it writes.
"""

from __future__ import annotations

import io
import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lauterbur.recon.learned_network import MEMORY, STEPS, TOLD, read_weights


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
        """(batch, a, b) complex and memory (batch, MEMORY, a/2, b/2)."""
        kernels, biases = self.kernels[self.group[t]], self.biases[t]
        both = torch.cat([torch.view_as_real(one).permute(0, 3, 1, 2) for one in (image, least)], 1)
        parts = functional.pixel_unshuffle(both, 2)
        flat = torch.stack([told, fraction], 1)[:, :, None, None].expand(-1, -1, *parts.shape[2:])
        layer = torch.cat([parts, flat, memory], 1)
        for i, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
            layer = functional.conv2d(layer, kernel, bias, padding=1)
            if i + 1 < len(kernels):
                layer = torch.relu(layer)
        change = functional.pixel_shuffle(layer[:, :8], 2).permute(0, 2, 3, 1).contiguous()
        return image + torch.view_as_complex(change), layer[:, 8:]

    def forward(
        self, least: Tensor, start: Tensor, right: Tensor, maps: Tensor, mask: Tensor, told: Tensor, fraction: Tensor
    ) -> list[Tensor]:
        """The image (batch, a, b) after every turn. All scaled to brightness 1; the mask with k = 0 in the corner."""
        inside = (maps.abs().amax(1) > 0).to(maps.real.dtype)
        memory = torch.zeros(len(start), MEMORY, start.shape[1] // 2, start.shape[2] // 2)
        image, found = start, []

        def normal(x: Tensor) -> Tensor:
            seen = torch.fft.fft2(maps * x[:, None]) * mask[:, None]
            return (maps.conj() * torch.fft.ifft2(seen)).sum(1)

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


def loaded(network: Unrolled, state: dict[str, Tensor], group: list[int]) -> None:
    """A state of as many turns with fewer groups of kernels: each turn goes on with those it had."""
    found = {name: value for name, value in state.items() if not name.startswith("kernels.")}
    for t, mine in enumerate(network.group):
        for i in range(len(network.kernels[mine])):
            found[f"kernels.{mine}.{i}"] = state[f"kernels.{group[t]}.{i}"]
    network.load_state_dict(found)


def packed(network: Unrolled) -> bytes:
    """An .npz as read by lauterbur.recon.learned_network.read_weights."""
    arrays: dict[str, np.ndarray] = {"group": np.array(network.group, np.int32)}
    for g, kernels in enumerate(network.kernels):
        arrays |= {f"kernel_{g}_{i}": k.detach().numpy().astype(np.float16) for i, k in enumerate(kernels)}
    for t, biases in enumerate(network.biases):
        arrays |= {f"bias_{t}_{i}": b.detach().numpy() for i, b in enumerate(biases)}
    arrays["trust"] = network.trust.detach().numpy()
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def unpacked(network: Unrolled, data: bytes) -> None:
    """The inverse of `packed`: weights of an .npz, each turn going on with its own."""
    weights = read_weights(data)
    with torch.no_grad():
        for t, turn in enumerate(weights.turns):
            mine = network.kernels[network.group[t]]
            for parameter, value in zip([*mine, *network.biases[t]], [*turn.kernels, *turn.biases], strict=True):
                parameter.copy_(torch.from_numpy(value))
            network.trust[t] = torch.tensor(turn.trust)
