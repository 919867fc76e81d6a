"""A reconstruction on one page: the image, its g-factor, its signal to noise, and how it fits the data."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lauterbur.image import Image
from lauterbur.study.figures import add_axes, new_figure
from lauterbur.study.planes import to_patient_axes, window

PER_INCH = 14  # characters of a line of text


def snr_map(image: Image) -> NDArray[np.float32] | None:
    """(z, y, x) of the first frame, where the noise is white and the method's noise is known; else None."""
    facts = image.provenance.get("reconstruction", {})
    if not facts.get("whitened") or facts.get("normalised"):
        return None
    size = np.abs(image.pixels[0]).astype(np.float32)
    if facts.get("method") == "FFT":
        return size
    g_factor = image.maps.get("g_factor")
    if g_factor is None:
        return None
    noise = g_factor * np.float32(np.sqrt(np.prod(facts["acceleration"])))
    return np.where(noise > 0, size / np.where(noise > 0, noise, 1), 0).astype(np.float32)


def fit_lines(image: Image) -> list[str]:
    """What was done and how it fits, as lines to print."""
    facts: dict[str, Any] = dict(image.provenance.get("reconstruction", {}))
    lines = [
        f"{facts.get('method', '')}, {facts['receivers'][1]} of {facts['receivers'][0]} receivers, FFT by {facts['library']}"
    ]
    if "acceleration" in facts:
        lines.append(f"acceleration {facts['acceleration'][0]} x {facts['acceleration'][1]} (phase x partition)")
    if "measured_lines" in facts:
        have, of = facts["measured_lines"]
        lines.append(f"{have} of {of} lines measured, one in {of / max(have, 1):.2f}")
    if "undersampling" in facts:
        lines.append(f"{facts['undersampling']:.2f} times as much of k-space reached as the samples stand for")
    if "off_resonance" in facts:
        lines.append(f"off-resonance {facts['off_resonance']}")
    if "tuning" in facts:
        of = facts["tuning"]
        lines.append(
            f"learned prior tuned to this scan in {of['steps']} steps: withheld samples foretold to {of['after']:.4f} of their size, "
            f"before {of['before']:.4f}"
        )
    for i, fit in enumerate(facts.get("fits", [])):
        line = f"fit {i + 1}: residual {fit['residual']:.3g} for noise {fit['noise']:.3g} (ratio {fit['residual'] / max(fit['noise'], 1e-300):.2f}), "
        if "weights" in fit:
            of = fit["foretold"]
            line += (
                f"least squares {fit['least_squares']:.3g}; {of['share']:.0%} the network's, withheld samples foretold to {of['mixed']:.4f} of their size "
                f"(network {of['learned']:.4f}, compressed sensing {of['sparse']:.4f}); data moved the learned image by {fit['moved']:.1e}; "
                f"weights {fit['weights'][:12]}"
            )
        else:
            line += f"weight {fit['weight']:.3g}, last of {fit['iterations']} steps {fit['change']:.1e} of the image"
        lines.append(line)
    return lines + [f"note: {note}" for note in facts.get("notes", [])]


def fit_figure(image: Image) -> Figure:
    """The middle slice across the patient axis with fewest voxels or, of a cube, the axial one."""
    panels: list[tuple[str, NDArray[Any]]] = [("image", np.abs(image.pixels[0]))]
    if "g_factor" in image.maps:
        panels.append(("g-factor", image.maps["g_factor"]))
    if "off_resonance" in image.maps:
        panels.append(("off-resonance (Hz)", image.maps["off_resonance"]))
    signal_to_noise = snr_map(image)
    if signal_to_noise is not None:
        panels.append(("signal to noise", signal_to_noise))
    width = max(7.5, 4.2 * len(panels))
    text = [part for line in fit_lines(image) for part in wrap(line, int(width * PER_INCH), subsequent_indent="    ")]
    figure = new_figure(width, 4.6 + 0.17 * len(text))
    axes = add_axes(figure, 1, len(panels))
    for panel, (name, volume) in zip(axes, panels, strict=True):
        turned, size = to_patient_axes(volume, image.affine)
        patient = 2 - int(np.argmin(turned.shape)) if 2 * min(turned.shape) < max(turned.shape) else 2
        plane = np.take(turned, turned.shape[2 - patient] // 2, axis=2 - patient)
        across = [axis for axis in (0, 1, 2) if axis != patient]
        low, high = (min(0.0, float(plane.min())), float(plane.max()) or 1.0) if name != "image" else window(plane)
        shown = panel.imshow(
            plane, cmap="gray" if name == "image" else "magma", vmin=low, vmax=high,
            aspect=size[across[1]] / size[across[0]], origin="upper" if patient == 2 else "lower",
        )  # fmt: skip
        panel.set_title(name, fontsize=9)
        panel.set_axis_off()
        if name != "image":
            figure.colorbar(shown, ax=panel, shrink=0.75)
    figure.supxlabel("\n".join(text), fontsize=8, ha="left", x=0.02)
    return figure
