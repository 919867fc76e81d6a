"""What field does to a head: |B1+| of eight transmit loops at 3, 4.95 and 7 T, and how loud the head is at 3 and 5 T.

    python benchmarks/transmit.py --step 5 --out pictures                   # mm; minutes on two cores
    python benchmarks/transmit.py --only transmit --at 4.95 --step 4        # how long eight channels take
    python benchmarks/transmit.py --only snr --against 6

The same coil (5 T head array, same size and shield) is tuned and matched at each field. Circular polarisation: phases that add at
the middle of the head. SNR: best combination of the 48 receive loops, before relaxation, in the middle of the head (2 cm ball).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import lauterbur as lb
from lauterbur.fields.coarse import coarse_body
from lauterbur.fields.maxwell import TransmitFields, missing_power, receive_fields, transmit_fields
from lauterbur.fields.medium import Medium, medium_of
from lauterbur.fields.placement import place
from lauterbur.fields.position import position
from lauterbur.fields.solution import surface
from lauterbur.scanner.machine import Scanner
from lauterbur.subject.anatomy import Subject
from lauterbur.units import GAMMA_BAR

FIELDS = (3.0, 4.95, 7.0)  # T
BRAIN = (0.0, -0.01, 0.02)  # m: about the middle of the shipped head's brain


def at_field(scanner: Scanner, field: float) -> Scanner:
    """The same machine at another field; a loop's own resistance goes with the frequency (Q kept)."""
    larmor = GAMMA_BAR * field
    receive = tuple(replace(a, resistance=a.resistance * larmor / scanner.larmor_frequency) for a in scanner.receive)
    return replace(scanner, field_strength=field, larmor_frequency=larmor, receive=receive)


def circular(fields: TransmitFields, middle: tuple[int, int, int]) -> np.ndarray:
    """T/sqrt(W): equal power in every channel, phases that add in the middle."""
    phase = np.angle(fields.b1_plus[(slice(None), *middle)])
    return np.tensordot(np.exp(-1j * phase) / np.sqrt(len(phase)), fields.b1_plus, axes=1)


def middle_of(medium: Medium, centre: tuple[float, float, float]) -> tuple[int, int, int]:
    index = np.rint((np.array(centre) - medium.affine[:3, 3]) / medium.affine[0, 0]).astype(int)
    return int(index[2]), int(index[1]), int(index[0])


def transmit(
    scanner: Scanner, subject: Subject, step: float, pictures: Path | None, shield: bool, at: list[float]
) -> None:
    print("field  |B1+| mean uT/sqrt(W)  CV %   centre/mean  S worst dB  missing power  iterations  CPU s  wall s")
    maps = []
    for field in at:
        machine = at_field(scanner, field)
        body = surface(coarse_body(subject, machine.larmor_frequency, 4e-3))
        array = machine.transmit.arrays[0]
        placed = position(machine, body, array if shield else replace(array, shield_radius=0.0))
        medium = medium_of(subject, machine.larmor_frequency, step)
        begun, started = time.process_time(), time.perf_counter()
        fields = transmit_fields(medium, placed, coarse=medium_of(subject, machine.larmor_frequency, 2 * step))
        spent, passed = time.process_time() - begun, time.perf_counter() - started
        middle = middle_of(medium, placed.centre)
        cp = np.abs(circular(fields, middle))
        inside = (medium.permittivity != 1)[middle[0]]
        values = cp[middle[0]][inside]
        print(
            f"{field:5.2f}  {values.mean() * 1e6:20.3f}  {values.std() / values.mean() * 100:5.1f}  {cp[middle] / values.mean():11.2f}"
            f"  {20 * np.log10(np.abs(np.diag(fields.s_matrix)).max()):10.0f}  {np.linalg.norm(missing_power(fields), 2):13.1e}"
            f"  {fields.loaded.iterations:10d}  {spent:5.0f}  {passed:6.0f}"
        )
        maps.append(
            (
                field,
                np.where(inside, cp[middle[0]], np.nan),
                np.where((medium.permittivity != 1)[:, :, middle[2]], cp[:, :, middle[2]], np.nan),
            )
        )
    if pictures is not None:
        _draw(maps, pictures / "transmit.png")


def loudness(scanner: Scanner, subject: Subject, field: float, size: float) -> tuple[np.ndarray, np.ndarray]:
    """B0^2 sqrt(b^H R^-1 b), (z, y, x), and each voxel's distance, m, from the middle of the brain."""
    machine = at_field(scanner, field)
    placed = place(machine, surface(coarse_body(subject, machine.larmor_frequency, 4e-3)), "head48")
    medium = medium_of(subject, machine.larmor_frequency, size)
    b1_minus, noise, _ = receive_fields(medium, placed.array)
    flat = b1_minus.reshape(len(b1_minus), -1)
    power = np.einsum("iv,iv->v", flat.conj(), np.linalg.solve(noise, flat)).real
    place_of = np.indices(b1_minus.shape[1:])[::-1].reshape(3, -1).T * size + medium.affine[:3, 3]
    distance = np.linalg.norm(place_of - BRAIN, axis=1).reshape(b1_minus.shape[1:])
    return field**2 * np.sqrt(power).reshape(b1_minus.shape[1:]), distance


def snr(scanner: Scanner, subject: Subject, step: float, finer: float | None) -> None:
    strong, distance = loudness(scanner, subject, 4.95, step)
    weak, _ = loudness(scanner, subject, 3.0, step)
    for name, radius in (("2 cm ball in the middle", 0.02), ("5 cm ball", 0.05)):
        ball = distance < radius
        print(f"SNR 4.95 T / 3 T at {step * 1e3:g} mm, {name}: {strong[ball].mean() / weak[ball].mean():.2f}")
    if finer is not None:
        fine, near = loudness(scanner, subject, 4.95, finer)
        for name, radius in (("2 cm ball in the middle", 0.02), ("5 cm ball", 0.05)):
            wrong = strong[distance < radius].mean() / fine[near < radius].mean() - 1
            print(f"SNR at 4.95 T, {step * 1e3:g} mm against {finer * 1e3:g} mm, {name}: {wrong * 100:+.2f} %")


def _draw(maps: list[tuple[float, np.ndarray, np.ndarray]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(2, len(maps), figsize=(4 * len(maps), 8), squeeze=False)
    for column, (field, axial, sagittal) in enumerate(maps):
        mean = np.nanmean(axial)
        for row, picture in enumerate((axial, sagittal[::-1])):
            shown = axes[row, column].imshow(picture / mean, vmin=0, vmax=2, cmap="viridis")
            axes[row, column].set_axis_off()
        cv = np.nanstd(axial) / mean * 100
        axes[0, column].set_title(f"{field:g} T: {mean * 1e6:.2f} uT/sqrt(W), CV {cv:.0f} %")
    figure.colorbar(shown, ax=axes, label="|B1+| over its mean in the axial slice, circular polarisation", shrink=0.6)
    figure.savefig(path, dpi=80, bbox_inches="tight")
    print(f"picture in {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", type=float, default=5.0, help="mm, of the transmit grid (default 5)")
    parser.add_argument("--receive-step", type=float, default=8.0, help="mm, of the receive grid (default 8)")
    parser.add_argument("--against", type=float, default=None, help="mm: a finer receive grid to judge that one by")
    parser.add_argument("--unshielded", action="store_true", help="the same loops without their shield")
    parser.add_argument("--at", type=float, nargs="+", default=FIELDS, help="T (default 3 4.95 7)")
    parser.add_argument("--out", type=Path, default=None, help="folder for pictures")
    parser.add_argument("--only", choices=("transmit", "snr"), default=None)
    chosen = parser.parse_args()
    scanner, subject = lb.load_scanner("5T"), lb.load_subject("head", spacing=2e-3)
    if chosen.only != "snr":
        transmit(scanner, subject, chosen.step * 1e-3, chosen.out, not chosen.unshielded, chosen.at)
    if chosen.only != "transmit":
        snr(scanner, subject, chosen.receive_step * 1e-3, chosen.against and chosen.against * 1e-3)


if __name__ == "__main__":
    main()
