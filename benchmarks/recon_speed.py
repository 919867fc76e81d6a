"""Fast imaging beside its peers: ESPIRiT, wavelets in 2D and 3D, radial CG-SENSE; seconds, errors, ratios, distance from the FFTs.

    python benchmarks/recon_speed.py                                      # ours
    python benchmarks/recon_speed.py --bart /usr/bin/bart --peer-python PEERS/bin/python    # BART and SigPy beside it
    python benchmarks/recon_speed.py --tasks espirit wavelet --threads 1
    python benchmarks/recon_speed.py --grow --out growth.png              # instead: ours against size and receivers

PEERS is an environment with sigpy. Wall time means something on a quiet machine only; CPU seconds are of all threads together. Ours is
the best of --repeats after a first run that loads the kernels, as is SigPy's; BART's includes reading and writing its files. All solve the same samples
with the same maps; where a peer has a weight to choose, the best of three by the true error is taken, ours is chosen from the noise. Error is
NRMSE after one complex factor; of maps it is the root mean square distance of the true ones from their span, inside the object.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

N, N_RX, CENTRE = 256, 12, 24
ELLIPSES = (  # value, half axes, centre, degrees: the phantom of Shepp and Logan (1974) with Toft's contrasts (1996)
    (1.0, 0.69, 0.92, 0.0, 0.0, 0), (-0.8, 0.6624, 0.874, 0.0, -0.0184, 0), (-0.2, 0.11, 0.31, 0.22, 0.0, -18),
    (-0.2, 0.16, 0.41, -0.22, 0.0, 18), (0.1, 0.21, 0.25, 0.0, 0.35, 0), (0.1, 0.046, 0.046, 0.0, 0.1, 0),
    (0.1, 0.046, 0.046, 0.0, -0.1, 0), (0.1, 0.046, 0.023, -0.08, -0.605, 0), (0.1, 0.023, 0.023, 0.0, -0.606, 0),
    (0.1, 0.023, 0.046, 0.06, -0.605, 0),
)  # fmt: skip
SNR = 100  # of the brightest pixel, fully sampled


@dataclass(frozen=True)
class Result:
    name: str
    wall: float  # s
    cpu: float  # s
    error: float
    peak: float = 0.0  # GiB, where asked


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bart", type=Path)
    parser.add_argument("--peer-python", type=Path)
    parser.add_argument("--tasks", nargs="+", default=["espirit", "wavelet", "radial", "volume"])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--grow", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("recon_growth.png"))
    parser.add_argument("--solve", type=Path, help=argparse.SUPPRESS)  # a process of its own, for its memory
    return parser.parse_args()


def one_thread_each(n: int) -> dict[str, str]:
    return {
        name: str(n) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS")
    }


if __name__ == "__main__":
    options = arguments()
    os.environ.update(one_thread_each(options.threads))
    if hasattr(os, "sched_setaffinity") and options.threads < (os.cpu_count() or 1):
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: options.threads]))
    os.cpu_count = lambda: options.threads  # type: ignore[method-assign]

import numpy as np  # noqa: E402

from lauterbur.recon import fft as fourier  # noqa: E402
from lauterbur.recon.cartesian_sense import CartesianSense  # noqa: E402
from lauterbur.recon.espirit import plane_maps  # noqa: E402
from lauterbur.recon.fft import fft, ifft, resized  # noqa: E402
from lauterbur.recon.nufft import Nufft  # noqa: E402
from lauterbur.recon.operators import Sensitivity  # noqa: E402
from lauterbur.recon.regularisation import sparse_weight  # noqa: E402
from lauterbur.recon.solvers import conjugate_gradient, fista  # noqa: E402
from lauterbur.recon.toeplitz import toeplitz_sense  # noqa: E402
from lauterbur.recon.wavelets import Wavelet  # noqa: E402


def grid(*n: int) -> list[np.ndarray]:
    return np.meshgrid(*(2 * (np.arange(k) - k // 2) / k for k in n), indexing="ij")


def phantom(n: int) -> np.ndarray:
    y, x = grid(n, n)
    image = np.zeros((n, n), np.complex64)
    for value, a, b, x_0, y_0, degrees in ELLIPSES:
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        u, v = (x - x_0) * c + (y - y_0) * s, (y - y_0) * c - (x - x_0) * s
        image[(u / a) ** 2 + (v / b) ** 2 <= 1] += value
    return image


def receivers(n_rx: int, *n: int) -> np.ndarray:
    """(rx, ...) of unit norm: bumps on a ring, each with a phase of its own."""
    axes = grid(*n)
    y, x = axes[-2:]
    z = axes[0] if len(n) == 3 else 0
    maps = []
    for i, turn in enumerate(2 * np.pi * np.arange(n_rx) / n_rx):
        a, b, h = 1.1 * np.cos(turn), 1.1 * np.sin(turn), 0.5 * (-1) ** i
        size = np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - h) ** 2 * (len(n) == 3)) / 1.6)
        maps.append(size * np.exp(1j * (turn + 0.8 * (x * np.cos(turn) + y * np.sin(turn)))))
    stack = np.stack(maps)
    return (stack / np.linalg.norm(stack, axis=0)).astype(np.complex64)


def noise_like(values: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return ((rng.normal(size=values.shape) + 1j * rng.normal(size=values.shape)) / (SNR * np.sqrt(2))).astype(
        np.complex64
    )


def sampling(n_a: int, n_b: int, fraction: float, seed: int = 1) -> np.ndarray:
    """Variable density with a full centre."""
    a, b = grid(n_a, n_b)
    density = 1 / (0.02 + np.hypot(a, b)) ** 1.2
    low, high = 0.0, 10.0
    for _ in range(40):  # so dense that the fraction comes out
        scale = (low + high) / 2
        low, high = (scale, high) if np.minimum(1, scale * density).mean() < fraction else (low, scale)
    mask = np.random.default_rng(seed).random((n_a, n_b)) < scale * density
    half = CENTRE // 2
    mask[n_a // 2 - half : n_a // 2 + half, n_b // 2 - half : n_b // 2 + half] = True
    return mask


def error_of(image: np.ndarray, truth: np.ndarray) -> float:
    image = image.reshape(truth.shape)
    scale = np.vdot(image, truth) / np.vdot(image, image)
    return float(np.linalg.norm(scale * image - truth) / np.linalg.norm(truth))


def map_error(maps: np.ndarray, truth: np.ndarray, inside: np.ndarray) -> float:
    maps = maps.reshape(truth.shape)
    maps = maps / np.maximum(np.linalg.norm(maps, axis=0), 1e-12)
    left = truth - np.sum(maps.conj() * truth, axis=0) * maps
    return float(np.sqrt(np.mean(np.sum(np.abs(left[:, inside]) ** 2, axis=0))))


def timed(work: Callable[[], np.ndarray], repeats: int) -> tuple[float, float, np.ndarray]:
    out = work()
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        out = work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return min(walls), min(cpus), out


def floor(count: int, shape: tuple[int, ...], batch: int, repeats: int) -> tuple[float, float]:
    """Wall and CPU seconds of `count` transforms of `shape` by our door, in batches."""
    x = np.zeros((batch, *shape), np.complex64)
    axes = tuple(range(1, x.ndim))

    def work() -> np.ndarray:
        for _ in range(max(1, round(count / batch))):
            fourier.plain(x, axes, False, workers=os.cpu_count() or 1)
        return x

    wall, cpu, _ = timed(work, repeats)
    return wall, cpu


def measured(command: Sequence[object], folder: Path | None = None) -> tuple[float, float, float]:
    """Wall and CPU seconds and peak memory in GiB of a process."""
    wall = time.perf_counter()
    process = subprocess.Popen(
        list(map(str, command)), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    wall, process.returncode = time.perf_counter() - wall, os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[0]} ended with {process.returncode}: {said[-500:]}")
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20


class Bart:
    """BART at the prompt, on its own files."""

    def __init__(self, path: Path, folder: Path):
        self.path, self.folder = path, folder

    def write(self, name: str, array: np.ndarray) -> None:
        """`array` with BART's axes first to last."""
        dims = [*array.shape, *[1] * (16 - array.ndim)]
        (self.folder / f"{name}.hdr").write_text("# Dimensions\n" + " ".join(map(str, dims)) + "\n")
        array.astype(np.complex64).ravel(order="F").tofile(self.folder / f"{name}.cfl")

    def read(self, name: str) -> np.ndarray:
        dims = [int(n) for n in (self.folder / f"{name}.hdr").read_text().splitlines()[1].split()]
        flat = np.fromfile(self.folder / f"{name}.cfl", np.complex64)
        return flat.reshape(dims, order="F").squeeze()

    def run(self, *words: object) -> tuple[float, float]:
        wall, cpu, _ = measured([self.path, *words], self.folder)
        return wall, cpu


SIGPY = """
import sys, time, numpy as np, sigpy as sp, sigpy.mri as mr
task, folder, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3])
load = lambda name: np.load(f"{folder}/{name}.npy")
k, maps = load("k"), load("maps")
kwargs = {"show_pbar": False}
if task == "espirit":
    work = lambda w: mr.app.EspiritCalib(k, calib_width=24, crop=0, **kwargs).run()
elif task == "radial":
    coord = load("points") * np.array(maps.shape[1:])
    work = lambda w: mr.app.SenseRecon(k, maps, coord=coord, max_iter=20, **kwargs).run()
else:
    iterations = 40 if task == "wavelet" else 30
    mask = load("mask")
    work = lambda w: mr.app.L1WaveletRecon(k, maps, w, weights=mask, max_iter=iterations, **kwargs).run()
weights = [float(w) for w in sys.argv[4:]] or [0.0]
if task != "volume": work(weights[0])
for i, w in enumerate(weights):
    wall, cpu = time.perf_counter(), time.process_time()
    out = work(w)
    print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)
    np.save(f"{folder}/out{i}.npy", out)
"""


def sigpy(
    python: Path, task: str, folder: Path, judge: Callable[[np.ndarray], float], weights: tuple[float, ...]
) -> Result:
    command = [python, "-c", SIGPY, task, folder, 1, *weights]
    printed = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout
    times = [tuple(map(float, line.split())) for line in printed.splitlines()]
    errors = [judge(np.load(folder / f"out{i}.npy")) for i in range(len(times))]
    best = int(np.argmin(errors))
    return Result("SigPy", *times[best], errors[best])


def best_of(name: str, runs: list[tuple[tuple[float, float], float]]) -> Result:
    (wall, cpu), error = min(runs, key=lambda run: run[1])
    return Result(name, wall, cpu, error)


def report(task: str, results: list[Result], fft_only: tuple[float, float] | None) -> None:
    print(f"\n{task}")
    ours = results[0]
    for one in results:
        ratio = "" if one is ours else f"  ours / its: wall {ours.wall / one.wall:.3f}, CPU {ours.cpu / one.cpu:.3f}"
        peak = f"  peak {one.peak:.2f} GiB" if one.peak else ""
        print(f"  {one.name:10s} wall {one.wall:8.3f} s  CPU {one.cpu:8.3f} s  error {one.error:.4f}{peak}{ratio}")
    if fft_only is not None:
        print(
            f"  {'FFTs alone':10s} wall {fft_only[0]:8.3f} s  CPU {fft_only[1]:8.3f} s  "
            f"ours / them: wall {ours.wall / fft_only[0]:.2f}, CPU {ours.cpu / fft_only[1]:.2f}",
            flush=True,
        )


def espirit(options: argparse.Namespace, folder: Path) -> None:
    truth, maps = phantom(N), receivers(N_RX, N, N)
    k = fft(maps * truth, (1, 2))
    k += noise_like(k, 0)
    inside = np.abs(truth) > 0.05

    def work() -> np.ndarray:
        return plane_maps(resized(resized(k, CENTRE, 1), CENTRE, 2), (N, N)).sensitivity[0]

    wall, cpu, found = timed(work, options.repeats)
    results = [Result("ours", wall, cpu, map_error(found, maps, inside))]
    if options.bart:
        bart = Bart(options.bart, folder)
        bart.write("k", k.transpose(1, 2, 0)[:, :, None])
        times = min(bart.run("ecalib", "-m1", "-r", CENTRE, "-c0", "k", "maps") for _ in range(options.repeats))
        results.append(Result("BART", *times, map_error(bart.read("maps").transpose(2, 0, 1), maps, inside)))
    if options.peer_python:
        np.save(folder / "k.npy", k)
        np.save(folder / "maps.npy", maps)
        results.append(sigpy(options.peer_python, "espirit", folder, lambda m: map_error(m, maps, inside), ()))
    report(f"ESPIRiT {N}^2 x {N_RX}, {CENTRE}^2 calibration", results, None)


def wavelet(options: argparse.Namespace, folder: Path) -> None:
    truth, maps, mask = phantom(N), receivers(N_RX, N, N), sampling(N, N, 0.2)
    k = fft(maps * truth, (1, 2))
    k = (k + noise_like(k, 0)) * mask
    weight = sparse_weight(1 / SNR, float(mask.mean()))
    for family, peer in (("haar", "BART"), ("db4", "SigPy")):  # what each peer has

        def work(family: str = family) -> np.ndarray:
            sense = CartesianSense(maps[None, None], mask)
            right = sense.adjoint(k[None])
            return fista(sense.normal, right, Wavelet((2, 3), family), weight, iterations=40)

        wall, cpu, found = timed(work, options.repeats)
        results = [Result("ours", wall, cpu, error_of(found, truth))]
        if options.bart and peer == "BART":
            bart, runs = Bart(options.bart, folder), []
            bart.write("k", k.transpose(1, 2, 0)[:, :, None])
            bart.write("maps", maps.transpose(1, 2, 0)[:, :, None])
            for w in (0.0005, 0.002, 0.008):
                words = ("pics", "-i40", f"-RW:3:0:{w}", "--wavelet", "haar", "k", "maps", "out")
                times = min(bart.run(*words) for _ in range(options.repeats))
                runs.append((times, error_of(bart.read("out"), truth)))
            results.append(best_of("BART", runs))
        if options.peer_python and peer == "SigPy":
            for name, values in (("k", k), ("maps", maps), ("mask", mask.astype(np.float32))):
                np.save(folder / f"{name}.npy", values)
            weights = (0.3 * weight, weight, 3 * weight)
            results.append(sigpy(options.peer_python, "wavelet", folder, lambda i: error_of(i, truth), weights))
        fft_only = floor(40 * 2 * N_RX, (N, N), N_RX, options.repeats)
        report(f"2D wavelet ({family}) {N}^2 x {N_RX}, {mask.mean():.3f} sampled, 40 iterations", results, fft_only)


def radial(options: argparse.Namespace, folder: Path) -> None:
    truth, maps = phantom(N), receivers(N_RX, N, N)
    angle = np.pi * np.arange(64) / 64
    along = (np.arange(2 * N) - N) / (2 * N)
    points = np.stack([np.outer(np.sin(angle), along).ravel(), np.outer(np.cos(angle), along).ravel()], axis=1)
    nufft, coils = Nufft(points, (N, N)), Sensitivity(maps[None])
    samples = nufft.forward(coils.forward(truth[None]))
    samples = samples + noise_like(samples, 0)

    def work() -> np.ndarray:
        right = coils.adjoint(nufft.adjoint(samples))
        return conjugate_gradient(toeplitz_sense(points, maps[None]).normal, right, iterations=20, tolerance=0.0)

    wall, cpu, found = timed(work, options.repeats)
    results = [Result("ours", wall, cpu, error_of(found, truth))]
    if options.bart:
        bart = Bart(options.bart, folder)
        # its k is (x, y, z) in cycles per field of view, its first axis is our first
        trajectory = np.concatenate([points * N, np.zeros((len(points), 1))], axis=1).reshape(64, 2 * N, 3)
        bart.write("t", trajectory.transpose(2, 1, 0))
        bart.write("k", samples.reshape(N_RX, 64, 2 * N).transpose(2, 1, 0)[None])
        bart.write("maps", maps.transpose(1, 2, 0)[:, :, None])
        times = min(
            bart.run("pics", "-l2", "-r0", "-i20", "-t", "t", "k", "maps", "out") for _ in range(options.repeats)
        )
        results.append(Result("BART", *times, error_of(bart.read("out"), truth)))
    if options.peer_python:
        for name, values in (("k", samples), ("maps", maps), ("points", points)):
            np.save(folder / f"{name}.npy", values)
        results.append(sigpy(options.peer_python, "radial", folder, lambda i: error_of(i, truth), ()))
    fft_only = floor(20 * 2 * N_RX, (2 * N, 2 * N), N_RX, options.repeats)
    report(f"radial CG-SENSE {N}^2 x {N_RX}, 64 spokes, 20 iterations", results, fft_only)


def volume_solved(k: np.ndarray, maps: np.ndarray, mask: np.ndarray, weight: float) -> np.ndarray:
    """(x, z, y) from k-space (rx, z, y, x): readout transform, then every plane on its own."""
    hybrid = np.ascontiguousarray(ifft(k, 3).transpose(3, 0, 1, 2))
    planes = np.ascontiguousarray(maps.transpose(3, 0, 1, 2))
    prior = Wavelet((2, 3), "haar")

    def work(x: int) -> np.ndarray:
        sense = CartesianSense(planes[x][None, None], mask, 1)
        return fista(sense.normal, sense.adjoint(hybrid[x][None]), prior, weight, iterations=30, seed=x)[0, 0]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.stack(list(pool.map(work, range(len(hybrid)))))


def solid(n: int) -> np.ndarray:
    """(z, y, x): the phantom, smaller towards both ends."""
    plane = phantom(n).real
    out = np.zeros((n, n, n), np.complex64)
    for z in range(n):
        reach = np.sqrt(max(0.0, 1 - (2 * (z - n / 2) / (0.95 * n)) ** 2))
        if reach > 0.05:
            at = np.clip(np.round((np.arange(n) - n / 2) / reach + n / 2).astype(int), 0, n - 1)
            out[z] = plane[np.ix_(at, at)]
    return out


def volume(options: argparse.Namespace, folder: Path, n: int = 128, n_rx: int = 8) -> None:
    truth, maps, mask = solid(n), receivers(n_rx, n, n, n), sampling(n, n, 0.2)
    k = fft(maps * truth, (1, 2, 3))
    k = (k + noise_like(k, 0)) * mask[:, :, None]
    weight = sparse_weight(1 / SNR, float(mask.mean()))
    wall, cpu, found = timed(lambda: volume_solved(k, maps, mask, weight), 1)
    for name, values in (("k", k), ("maps", maps), ("mask", mask), ("weight", weight)):
        np.save(folder / f"{name}.npy", values)
    *_, peak = measured([sys.executable, __file__, "--threads", options.threads, "--solve", folder])
    results = [Result("ours", wall, cpu, error_of(found.transpose(1, 2, 0), truth), peak)]
    if options.bart:
        bart, runs = Bart(options.bart, folder), []
        bart.write("k", k.transpose(1, 2, 3, 0))
        bart.write("maps", maps.transpose(1, 2, 3, 0))
        for w in (0.0005, 0.002, 0.008):
            words = ("pics", "-i30", f"-RW:7:0:{w}", "--wavelet", "haar", "k", "maps", "out")
            wall, cpu, peak = measured([options.bart, *words], folder)
            runs.append(Result("BART", wall, cpu, error_of(bart.read("out"), truth), peak))
        results.append(min(runs, key=lambda run: run.error))
    if options.peer_python:
        full = np.ascontiguousarray(np.broadcast_to(mask[:, :, None], k.shape[1:]), np.float32)
        np.save(folder / "mask.npy", full)
        results.append(sigpy(options.peer_python, "volume", folder, lambda i: error_of(i, truth), (weight,)))
    fft_only = floor(30 * 2 * n_rx, (n, n, n), n_rx, 1)
    report(f"3D wavelet {n}^3 x {n_rx}, {mask.mean():.3f} sampled, 30 iterations", results, fft_only)


def growth(options: argparse.Namespace) -> None:
    """Seconds of 40 iterations in 2D against the width of the image and the number of receivers."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    def seconds(n: int, n_rx: int) -> float:
        truth, maps, mask = phantom(n), receivers(n_rx, n, n), sampling(n, n, 0.2)
        k = fft(maps * truth, (1, 2)) * mask
        sense = CartesianSense(maps[None, None], mask)
        right = sense.adjoint(k[None])
        return timed(lambda: fista(sense.normal, right, Wavelet((2, 3)), 0.004, iterations=40), options.repeats)[1]

    figure, panels = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
    for panel, name, sizes, times in (
        (panels[0], "pixels", (64, 96, 128, 192, 256, 384, 512), lambda n: seconds(n, N_RX)),
        (panels[1], "receivers", (2, 4, 8, 16, 32, 64), lambda n: seconds(128, n)),
    ):
        found = [times(n) for n in sizes]
        amount = [n * n for n in sizes] if name == "pixels" else list(sizes)
        panel.loglog(amount, found, "o-", label="measured")
        panel.loglog(amount, [found[-1] * a / amount[-1] for a in amount], ":", color="grey", label="in proportion")
        panel.set(xlabel=name, ylabel="CPU seconds, 40 iterations")
        panel.set_xticks(amount, [str(n) for n in sizes], minor=False)
        panel.set_xlabel(f"{name} along a side" if name == "pixels" else name)
        panel.minorticks_off()
        panel.legend(frameon=False)
        print(name, dict(zip(sizes, np.round(found, 3).tolist(), strict=True)), flush=True)
    figure.savefig(options.out, dpi=110)
    print(options.out)


def main(options: argparse.Namespace) -> None:
    print(f"{options.threads} thread(s), FFT by {fourier.LIBRARY}, Python {sys.version.split()[0]}", flush=True)
    if options.grow:
        return growth(options)
    if options.solve:
        k, maps, mask, weight = (np.load(options.solve / f"{name}.npy") for name in ("k", "maps", "mask", "weight"))
        return np.save(options.solve / "solved.npy", volume_solved(k, maps, mask, float(weight)))
    tasks = {"espirit": espirit, "wavelet": wavelet, "radial": radial, "volume": volume}
    with tempfile.TemporaryDirectory() as folder:
        for task in options.tasks:
            tasks[task](options, Path(folder))


if __name__ == "__main__":
    main(options)
