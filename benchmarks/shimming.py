"""Shims of a real 3 T heart beside published ones: uniformity, heat, time, and how far one buys the other.

    LAUTERBUR_TEST_DATA=... python benchmarks/shimming.py [--picture shims.png] [--slow]

Data: in-vivo maps of eight channels, 1113 pixels of heart, 419 virtual observation points (mriphysics/cardiac_RF_shimming,
MIT). CoV and the largest local SAR at mean |B1+| = 1; SAR in the unit in which quadrature is 37.9 (3600 times the file's).
--slow adds scipy's SLSQP from the same start, a general solver.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.optimize import minimize

from lauterbur.shim.static import Weights, design_weights, trade_off

UNIT = 3600.0
PEERS = (  # name, CoV in %, local SAR: PEERS
    ("quadrature", 17.7, 37.9),
    ("phase only", 10.4, 34.7),
    ("magnitude least squares", 10.1, 35.8),
    ("VOP-constrained", 10.4, 22.2),
)
LIMITS = (37.9, 35.8, 34.7, 30.0, 26.0, 22.25, 22.2, 20.0, 18.0, 16.0, 15.0, 14.0, 13.0, 12.0)


def heart(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    data = loadmat(folder / "b1_data.mat")
    mask = data["M"] > 0
    return data["tx"][mask].T, mask, loadmat(folder / "VOPs.mat")["VOP"] * UNIT


def timed(job, n: int = 15) -> tuple[Weights, float, float]:
    """The result, and the medians of wall and processor time in ms."""
    result = job()
    wall, used = [], []
    for _ in range(n):
        a, b = time.perf_counter(), time.process_time()
        result = job()
        wall.append(time.perf_counter() - a)
        used.append(time.process_time() - b)
    return result, 1e3 * float(np.median(wall)), 1e3 * float(np.median(used))


def general_solver(b1: np.ndarray, q: np.ndarray, limit: float) -> tuple[float, float, float]:
    """CoV in %, SAR and seconds of SLSQP on the same problem."""
    n = len(b1)

    def split(x):
        w = x[:n] + 1j * x[n:]
        return w / np.mean(np.abs(w @ b1))

    def spread(x):
        return float(np.std(np.abs(split(x) @ b1)))

    def room(x):
        w = split(x)
        return 1 - np.einsum("c,kcd,d->k", w.conj(), q, w, optimize=True).real / limit

    start = time.perf_counter()
    x = np.concatenate((np.ones(n), np.zeros(n)))
    found = minimize(spread, x, constraints={"type": "ineq", "fun": room}, method="SLSQP", options={"maxiter": 300})
    w = split(found.x)
    sar = float(np.einsum("c,kcd,d->k", w.conj(), q, w, optimize=True).real.max())
    return 100 * spread(found.x), sar, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--slow", action="store_true")
    given = parser.parse_args()
    b1, mask, q = heart(Path(os.environ["LAUTERBUR_TEST_DATA"]) / "fields")

    plain = np.ones(len(b1), complex) / np.mean(np.abs(b1.sum(axis=0)))
    sar = float(np.einsum("c,kcd,d->k", plain.conj(), q, plain, optimize=True).real.max())
    print(f"{b1.shape[1]} pixels, {len(q)} virtual observation points")
    print(f"{'':38s}   CoV %   SAR     wall ms   cpu ms")
    print(f"{'quadrature':38s}  {100 * np.std(np.abs(plain @ b1)):6.2f} {sar:6.2f}")
    for name, job in (
        ("phase only", lambda: design_weights(b1, q, mode="phase")),
        ("magnitude least squares", lambda: design_weights(b1, q, mode="mls")),
        ("SAR <= 22.25, sixteen starts", lambda: design_weights(b1, q, limit=22.25)),
        ("SAR <= 22.25, one start", lambda: design_weights(b1, q, limit=22.25, start=plain, n_starts=1)),
    ):
        found, wall, used = timed(job)
        print(f"{name:38s}  {100 * found.variation:6.2f} {found.worst:6.2f}  {wall:8.1f} {used:8.1f}")
    if given.slow:
        spread, sar, seconds = general_solver(b1, q, 22.25)
        print(f"{'SAR <= 22.25 by scipy SLSQP':38s}  {spread:6.2f} {sar:6.2f}  {1e3 * seconds:8.0f}")

    print("\npeer                        CoV %   SAR    ours at its SAR: CoV %    our SAR at its CoV")
    rows = trade_off(b1, q, LIMITS)
    for name, spread, sar in PEERS:
        ours = design_weights(b1, q, limit=sar)
        cooler = min((r.worst for r in rows if 100 * r.variation <= spread), default=float("nan"))
        verdict = "dominated" if 100 * ours.variation <= spread and ours.worst <= sar else "NOT MATCHED"
        print(f"{name:26s} {spread:6.1f} {sar:6.1f}    {100 * ours.variation:12.2f} {cooler:21.1f}   {verdict}")
    print("\nour curve: " + ", ".join(f"{100 * r.variation:.2f} % / {r.worst:.1f}" for r in rows))
    if given.picture:
        picture(given.picture, b1, mask, plain, rows)


def picture(path: Path, b1: np.ndarray, mask: np.ndarray, plain: np.ndarray, rows: list[Weights]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    cooled = min(rows, key=lambda row: abs(row.worst - 22.2))
    across = np.flatnonzero(mask.any(axis=0))
    along = np.flatnonzero(mask.any(axis=1))
    for axis, w, name in zip(axes, (plain, cooled.weights), ("quadrature", "SAR at most 22.2"), strict=False):
        size = np.abs(w @ b1)
        shown = np.full(mask.shape, np.nan)
        shown[mask] = size
        view = shown[along[0] - 3 : along[-1] + 4, across[0] - 3 : across[-1] + 4]
        drawn = axis.imshow(view, vmin=0.5, vmax=1.5, cmap="viridis")
        axis.set_title(f"{name}: CoV {100 * size.std():.1f} %")
        axis.set_axis_off()
    figure.colorbar(drawn, ax=axes[:2], label="|B1+| over its mean", shrink=0.8)
    axes[2].plot([r.worst for r in rows], [100 * r.variation for r in rows], "o-", ms=4, label="ours")
    for name, spread, sar in PEERS:
        axes[2].plot(sar, spread, "x", ms=9, mew=2, label=name)
    axes[2].set(xlabel="largest local SAR at mean |B1+| = 1", ylabel="CoV of |B1+|, %", title="uniformity against heat")
    axes[2].legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
