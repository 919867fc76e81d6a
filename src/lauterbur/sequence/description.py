"""What a program says of itself: the header for raw data, and Pulseq's usual definitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lauterbur.errors import ProtocolError
from lauterbur.protocol.protocol import Protocol, slice_positions
from lauterbur.rawdata import Header, header_to_json
from lauterbur.scanner.machine import Scanner

PHASE_STEPS = 360  # distinct receiver phases that off-centre fields of view and RF spoiling share


def placed(protocol: Protocol, scanner: Scanner) -> Protocol:
    """The protocol with its centre moved by up to 1/720 of the field of view, along phase and 3D partition.

    There a shift of m/360 of the field of view turns line n by whole degrees, n m, so that one set of 360 receiver phases
    serves every line. Refuses a field of view that reaches beyond the bore.
    """
    axes = np.array(protocol.directions)
    along = axes @ np.array(protocol.position)
    for axis in (1, 2) if protocol.is_3d else (1,):
        step = protocol.fov[axis] / PHASE_STEPS
        along[axis] = round(along[axis] / step) * step
    x, y, z = (float(value) for value in np.round(axes.T @ along, 12) + 0.0)
    moved = replace(protocol, position=(x, y, z))

    extent = np.array(protocol.fov)
    if not protocol.is_3d:
        extent[2] *= protocol.slices
        extent[2] += protocol.slice_gap * (protocol.slices - 1)
    for axis, name in enumerate(("readout", "phase", "slice")):
        across = np.hypot(*axes[axis, :2])  # how far this axis reaches across the bore
        if across > 0.1 and not extent[axis] * across <= scanner.bore:
            raise ProtocolError(
                f"{protocol.name}: fov along {name} is {extent[axis] * 1e3:.0f} mm and reaches beyond the bore of "
                f"{scanner.bore * 1e3:.0f} mm; at most {scanner.bore / across * 1e3:.0f} mm is possible"
            )
    if not float(np.hypot(*moved.position[:2])) <= scanner.bore / 2:
        raise ProtocolError(
            f"{protocol.name}: position {tuple(round(x * 1e3, 1) for x in moved.position)} mm lies outside the bore of "
            f"{scanner.bore * 1e3:.0f} mm diameter; keep it within {scanner.bore * 500:.0f} mm of the axis"
        )
    return moved


def offset(protocol: Protocol, axis: int) -> float:
    """m: where the centre of the field of view lies along a logical axis."""
    return float(np.dot(protocol.directions[axis], protocol.position))


def line_phase(protocol: Protocol, line: np.ndarray, partition: np.ndarray) -> np.ndarray:
    """rad: what the receiver adds to lines so that the centre of the field of view comes to rest at k's origin."""
    k_line = (line - protocol.matrix[1] // 2) / protocol.fov[1]
    k_partition = (partition - protocol.matrix[2] // 2) / protocol.fov[2] if protocol.is_3d else 0.0
    return 2 * np.pi * (k_line * offset(protocol, 1) + k_partition * offset(protocol, 2))


def definitions(
    protocol: Protocol,
    scanner: Scanner,
    *,
    samples: int,
    fov: float,
    te: Sequence[float],
    tr: float,
    bandwidth: float,
    ti: float | None = None,
    echo_spacing: float | None = None,
    trajectory: str = "cartesian",
) -> dict[str, Any]:
    """`samples` and `fov` (m) are those of the readout as sampled; times are as played."""
    p = protocol
    rasters, rx = scanner.gradients.raster, scanner.spectrometer
    header = Header(
        matrix=p.matrix,
        fov=p.fov,
        encoded_matrix=(samples, p.matrix[1], p.matrix[2]),
        encoded_fov=(fov, p.fov[1], p.fov[2]),
        directions=p.directions,
        position=p.position,
        slice_positions=slice_positions(p),
        slice_thickness=p.fov[2] / p.matrix[2],
        trajectory=trajectory,
        dimensions=p.dimensions,
        te=tuple(round(float(t), 9) for t in te),
        tr=round(tr, 9),
        ti=None if ti is None else round(ti, 9),
        flip_angle=p.flip_angle,
        echo_spacing=None if echo_spacing is None else round(echo_spacing, 9),
        bandwidth=round(bandwidth, 6),
        acceleration=p.acceleration,
        field_strength=scanner.field_strength,
        larmor_frequency=scanner.larmor_frequency,
        protocol=p.name,
        contrast=p.contrast,
    )
    found: dict[str, Any] = {
        "Name": p.name.replace(" ", "_"),
        "FOV": tuple(_physical_extent(p)),
        "TE": header.te,
        "TR": (header.tr,),
        "FlipAngle": (round(float(np.degrees(p.flip_angle)), 6),),  # degrees
        "GradientRasterTime": (rasters,),
        "RadiofrequencyRasterTime": (scanner.transmit.raster,),
        "AdcRasterTime": (rx.adc_raster,),
        "BlockDurationRaster": (rx.block_raster,),
        "LauterburHeader": header_to_json(header),
    }
    if ti is not None:
        found["TI"] = (header.ti,)
    return found


def _physical_extent(protocol: Protocol) -> list[float]:
    """m, along x, y, z: Pulseq's FOV."""
    extent = np.array(protocol.fov)
    if not protocol.is_3d:
        extent[2] = protocol.slices * protocol.fov[2] + (protocol.slices - 1) * protocol.slice_gap
    return [round(float(x), 6) for x in np.abs(np.array(protocol.directions)).T @ extent]
