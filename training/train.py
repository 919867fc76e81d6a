"""Trains the learned prior of lauterbur.recon.learned on the pictures of a bank; resumes where it was.

    python training/pictures.py --out bank
    python training/train.py --bank bank --out run --minutes 60          # two cores, a thread on each
    python training/train.py --bank bank --out run --minutes 60          # goes on, or again from the start with --fresh
    python training/train.py --bank bank --out more --begin run/learned.npz --width 48 --fine 0.7        # a wider network, and finer pictures

Needs torch (pip install "lauterbur[train]"). A pool of problems is made first and kept; every step sees some of it, turned and mirrored:
which, follows from --seed and the number of the step, so that an interrupted run and a whole one see the same; checkpoints are written
beside and then renamed. `run/learned.npz` is what the product reads.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from batches import batch_of, fill, seen
from problems import Bank, Problem

from lauterbur.recon.cartesian_sense import CartesianSense
from lauterbur.recon.learned_network import read_weights, scale_of, told_noise, unrolled
from lauterbur.recon.learned_torch import Unrolled, network_of, packed

JUDGED = 32  # problems held out for the log


def tensors(batch: list[Problem]) -> tuple[torch.Tensor, ...]:
    scale = [scale_of(p.least) for p in batch]

    def stacked(name: str) -> torch.Tensor:
        return torch.from_numpy(
            np.stack([getattr(p, name) / s for p, s in zip(batch, scale, strict=True)]).astype(np.complex64)
        )

    maps = torch.from_numpy(np.stack([p.maps for p in batch]).astype(np.complex64))
    mask = torch.from_numpy(np.stack([np.fft.ifftshift(p.mask) for p in batch]).astype(np.float32))
    told = torch.tensor([told_noise(p.noise / s) for p, s in zip(batch, scale, strict=True)], dtype=torch.float32)
    fraction = torch.tensor([float(p.mask.mean()) for p in batch], dtype=torch.float32)
    return stacked("least"), stacked("start"), stacked("right"), maps, mask, told, fraction, stacked("target")


def loaded(network: Unrolled, state: dict[str, torch.Tensor], group: list[int]) -> None:
    """A state of as many turns with fewer groups of kernels: each turn goes on with those it had."""
    found = {name: value for name, value in state.items() if not name.startswith("kernels.")}
    for t, mine in enumerate(network.group):
        for i in range(len(network.kernels[mine])):
            found[f"kernels.{mine}.{i}"] = state[f"kernels.{group[t]}.{i}"]
    network.load_state_dict(found)


def grown(small: Unrolled, turns: int, width: int) -> Unrolled:
    """A network of more channels and turns that says nearly the same at first: what new channels hear is random, what they are heard with
    is zero; turns at the end begin as the last one but change nothing but what the data change."""
    depth, groups = len(small.kernels[0]), len(small.kernels)
    more = turns - len(small.group)
    large = Unrolled(turns, groups + more, width, depth)
    large.group = [*small.group, *range(groups, groups + more)]
    with torch.no_grad():
        for g, mine in enumerate(large.kernels):
            for i, (kernel, old) in enumerate(zip(mine, small.kernels[min(g, groups - 1)], strict=True)):
                kernel[: len(old)] = 0
                if i + 1 < depth or g < groups:
                    kernel[: len(old), : old.shape[1]] = old
        for t, mine in enumerate(large.biases):
            last = min(t, len(small.group) - 1)
            for i, (bias, old) in enumerate(zip(mine, small.biases[last], strict=True)):
                bias.zero_()
                if i + 1 < depth or t == last:
                    bias[: len(old)] = old
            large.trust[t] = small.trust[last]
    return large


def errors(found: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean square error of each image, complex."""
    return (torch.view_as_real(found - target) ** 2).sum(-1).mean((1, 2))


def judged(network: Unrolled, held: list[tuple[torch.Tensor, ...]]) -> tuple[float, float]:
    """Mean gain over compressed sensing (the first image) in dB, and mean root mean square error."""
    gain, size = [], []
    with torch.no_grad():
        for least, start, right, maps, mask, told, fraction, target in held:
            after = errors(network(least, start, right, maps, mask, told, fraction)[-1], target)
            gain.append((10 * torch.log10(errors(start, target) / after)).mean().item())
            size.append(after.sqrt().mean().item())
    return float(np.mean(gain)), float(np.mean(size))


def check_the_product(network: Unrolled, p: Problem, data: bytes) -> float:
    """How far numpy's and torch's images are apart, relative; float16 weights make some 1e-3."""
    with torch.no_grad():
        *inputs, _ = tensors([p])
        theirs = network(*inputs)[-1][0].numpy() * scale_of(p.least)
    sense = CartesianSense(np.ascontiguousarray(p.maps[None, None]), p.mask, 1)
    ours = unrolled(sense, p.right[None, None], p.noise, read_weights(data), orientations=1)[0, 0]
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def save(path: Path, data: bytes | dict) -> None:
    draft = path.with_name(path.name + ".part")
    if isinstance(data, bytes):
        draft.write_bytes(data)
    else:
        torch.save(data, draft)
    os.replace(draft, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bank", type=Path, default=Path("bank"))
    parser.add_argument("--out", type=Path, default=Path("run"))
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="of this run, after which it stops and can be resumed"
    )
    parser.add_argument("--steps", type=int, default=6000, help="of the whole schedule")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument(
        "--groups", type=int, default=4, help="of turns, each with kernels of its own; may grow on resuming"
    )
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--half", action="store_true", help="convolutions in bfloat16, where the processor has it")
    parser.add_argument("--depth", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=4, help="batches of a step")
    parser.add_argument("--threads", type=int, default=2, help="that learn them, a batch at a time")
    parser.add_argument("--every", type=int, default=100, help="steps between checkpoints")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--begin", type=Path, help="a checkpoint, or an .npz, whose weights are begun with")
    parser.add_argument(
        "--fine",
        type=float,
        default=0.0,
        help="share of the steps that see parts of pictures, at 0.65 to 1.4 times their size",
    )
    parser.add_argument(
        "--pool",
        type=int,
        default=5000,
        help="batches made before the first step and kept; their files are some 1.6 MB each",
    )
    parser.add_argument(
        "--pool-at",
        type=Path,
        help="their folder, OUT/pool unless given, of one bank and share of fine parts; what it holds is not made anew: another seed sees it in another order",
    )
    parser.add_argument("--makers", type=int, default=2, help="processes that make them")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    bank, checkpoint = Bank(options.bank), options.out / "checkpoint.pt"
    begins_shipped = options.begin is not None and options.begin.suffix == ".npz"
    if begins_shipped:
        network = network_of(read_weights(options.begin.read_bytes()))
        turns, width = max(options.turns, len(network.group)), max(options.width, len(network.kernels[0][0]))
        if (turns, width) != (len(network.group), len(network.kernels[0][0])):
            network = grown(network, turns, width)
    else:
        network = Unrolled(options.turns, options.groups, options.width, options.depth)
    others = [p for p in network.parameters() if p is not network.trust]
    optimiser = torch.optim.AdamW(
        [{"params": others, "pace": 1.0}, {"params": [network.trust], "pace": 5.0}], lr=options.rate, weight_decay=1e-4
    )
    step = 0
    if checkpoint.exists() and not options.fresh:
        state = torch.load(checkpoint, weights_only=True)
        loaded(network, state["network"], state["group"])
        if state["group"] == network.group:
            optimiser.load_state_dict(state["optimiser"])
        step = int(state["step"])
    elif options.begin is not None and not begins_shipped:
        state = torch.load(options.begin, weights_only=True)
        loaded(network, state["network"], state["group"])
    held = [tensors([p]) for i in range(JUDGED) for p in batch_of(bank, options.seed + 10**6, i, 1, options.fine)]
    size = sum(p.numel() for p in network.parameters())
    print(f"{size} weights, from step {step} of {options.steps}", flush=True)
    losses = []
    keep = options.pool_at or options.out / "pool"
    for n in fill(options.bank, keep, options.seed, options.pool, options.batch, options.fine, options.makers):
        if n % 500 == 0 or n == options.pool:
            print(f"{n} of {options.pool} batches made", flush=True)
    begun, parameters, at_once = time.monotonic(), list(network.parameters()), options.at_once

    def learned(number: int) -> tuple[float, tuple[torch.Tensor, ...]]:
        """Loss of the last turn and gradients of one batch."""
        *inputs, target = tensors(seen(keep, options.seed, number, options.pool))
        with torch.autocast("cpu", torch.bfloat16, enabled=options.half):
            found = network(*inputs)
        # the logarithm makes easy and hard problems count alike: it is the mean PSNR that is learned
        parts = [torch.log(errors(one, target) + 1e-6).mean() for one in found]
        return parts[-1].item(), torch.autograd.grad(parts[-1] + 0.1 * sum(parts[:-1]), parameters)

    threads = ThreadPoolExecutor(options.threads)
    while step < options.steps and time.monotonic() - begun < 60 * options.minutes:
        warm, left = min(1.0, (step + 1) / 100), step / options.steps
        for group in optimiser.param_groups:
            group["lr"] = group["pace"] * options.rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * left)))
        answers = list(threads.map(learned, range(step * at_once, (step + 1) * at_once)))
        for parameter, *gradients in zip(parameters, *(gradients for _, gradients in answers), strict=True):
            parameter.grad = sum(gradients) / at_once
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        if torch.isfinite(norm):
            optimiser.step()
        losses += [loss for loss, _ in answers]
        step += 1
        if step % options.every == 0 or step == options.steps:
            state = {
                "network": network.state_dict(),
                "group": network.group,
                "optimiser": optimiser.state_dict(),
                "step": step,
            }
            save(checkpoint, state)
            data = packed(network)
            save(options.out / "learned.npz", data)
            gain, error = judged(network, held)
            apart = check_the_product(network, batch_of(bank, options.seed, step, 1, options.fine)[0], data)
            print(
                f"step {step}: loss {np.mean(losses):.3f}, held out {gain:+.2f} dB over compressed sensing, error {error:.4f}, "
                f"product differs by {apart:.1e}; {time.monotonic() - begun:.0f} s",
                flush=True,
            )
            losses.clear()
    threads.shutdown()


if __name__ == "__main__":
    main()
