"""Where an MRD file's samples lie: k-space of every readout, its centre sample, and the axes of the image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import UnsupportedError
from lauterbur.formats import mrd_acquisition as acquisition
from lauterbur.formats.mrd_header import MrdHeader
from lauterbur.formats.mrd_table import AcquisitionTable
from lauterbur.rawdata import Header
from lauterbur.units import mm


def settle_slices_(table: AcquisitionTable, mrd: MrdHeader, notes: list[str]) -> None:
    """KomaMRI numbers radial spokes as slices: where header and positions know one slice, they are lines."""
    heads = table.heads
    slices, lines = heads["idx"]["slice"][table.imaging], heads["idx"]["kspace_encode_step_1"][table.imaging]
    in_one_place = not np.any(np.ptp(heads["position"][table.imaging], axis=0))
    if mrd.is_ours or not slices.any() or mrd.limits.get("SLC", (0, 1, 0))[1] > 0 or lines.any() or not in_one_place:
        return
    notes.append(f"slice counter up to {slices.max()} in a file of one slice; taken as the line counter")
    heads["idx"]["kspace_encode_step_1"][table.imaging] = slices
    heads["idx"]["slice"][table.imaging] = 0


def k_space(
    table: AcquisitionTable, mrd: MrdHeader, stored: list[NDArray[np.float32]], notes: list[str]
) -> NDArray[np.float32]:
    """(readout, sample, 3) 1/m, patient axes: as stored, else our straight lines, else from the counters."""
    heads, n_samples = table.heads[table.imaging], table.n_samples
    directions = directions_of(heads, notes)
    n_most = int(n_samples.max())
    has_trajectory = np.array([len(t) > 0 and t.shape[1] > 0 for t in stored])
    if mrd.is_ours:
        k = acquisition.k_of_lines(heads["user_float"], n_samples, n_most)
    elif has_trajectory.all():
        k = np.zeros((len(heads), n_most, 3), np.float32)
    else:
        k = k_from_counters(heads, mrd, n_samples, directions)
    if not has_trajectory.any():
        return k

    scale = _scale(mrd, stored, notes, table)
    for i in np.flatnonzero(has_trajectory):
        n_dims = min(stored[i].shape[1], 3)
        logical = stored[i][:, :n_dims].astype(np.float64) * scale[:n_dims]
        k[i] = 0
        k[i, : n_samples[i]] = logical @ directions[:n_dims]
    if any(t.shape[1] > 3 for t in stored):
        notes.append("trajectory dimensions beyond three left out")
    return k


def _scale(
    mrd: MrdHeader, stored: list[NDArray[np.float32]], notes: list[str], table: AcquisitionTable
) -> NDArray[np.float64]:
    """1/m per unit of the trajectory along each axis. MRD names no unit: what custom and size tell is noted."""
    per_voxel = np.array(mrd.encoded_matrix) / np.array(mrd.encoded_fov)  # cycles per voxel -> 1/m
    if mrd.is_ours:
        return per_voxel
    in_plane = 2 if mrd.encoded_matrix[2] == 1 else 3
    largest = max(float(np.max(np.abs(t[:, :in_plane]), initial=0.0)) for t in stored)
    n_most = max(mrd.encoded_matrix)
    k_most = float(np.max(per_voxel[:in_plane])) / 2
    for limit, scale, unit in (
        (0.8, per_voxel, "cycles per voxel"),
        (0.8 * 2 * np.pi, per_voxel / (2 * np.pi), "radians per voxel"),
        (0.8 * n_most, 1 / np.array(mrd.encoded_fov), "cycles per field of view"),
        (1.6 * k_most, np.ones(3), "cycles per metre"),
        (1.6 * k_most * 2 * np.pi, np.full(3, 1 / (2 * np.pi)), "radians per metre"),
    ):
        if largest <= limit:
            notes.append(f"trajectory up to {largest:.3g}, taken as {unit}")
            return scale
    raise UnsupportedError(
        f"trajectory values up to {largest:.3g} fit no customary unit for {mrd.encoded_matrix} voxels; "
        "write it in cycles per voxel (-0.5 to 0.5)"
    )


def k_from_counters(
    heads: acquisition.Heads, mrd: MrdHeader, n_samples: NDArray[np.int32], directions: NDArray[np.float64]
) -> NDArray[np.float32]:
    """k from counters: one step per counter is one over the encoded field of view."""
    fov = np.array(mrd.encoded_fov)
    n_most = int(n_samples.max())
    reverse = (heads["flags"] & acquisition.REV) != 0
    sample = np.arange(n_most)[None, :]
    centre = heads["center_sample"].astype(np.int64) - heads["discard_pre"]
    forward = np.where(reverse[:, None], n_samples[:, None] - 1 - sample, sample) - centre[:, None]
    k = np.zeros((len(heads), n_most, 3))
    k += (forward / fov[0])[:, :, None] * directions[0]
    for axis, counter in ((1, "LIN"), (2, "PAR")):
        middle = mrd.limits[counter][2] if counter in mrd.limits else mrd.encoded_matrix[axis] // 2
        step = heads["idx"][acquisition.INDEX[counter]].astype(np.int64) - middle
        k += (step / fov[axis])[:, None, None] * directions[axis]
    k[sample[0][None, :] >= n_samples[:, None]] = 0
    return k.astype(np.float32)


def centre_samples(
    heads: acquisition.Heads, k: NDArray[np.float32], n_samples: NDArray[np.int32], *, is_ours: bool
) -> NDArray[np.int32]:
    """The sample nearest to k = 0, counted as played; where a trajectory came without it, found in the trajectory."""
    centre = heads["center_sample"].astype(np.int32) - heads["discard_pre"]
    reverse = (heads["flags"] & acquisition.REV) != 0
    centre = np.where(reverse, n_samples - 1 - centre, centre)
    unknown = (centre < 0) | (centre >= n_samples)
    if not is_ours:
        unknown |= (heads["center_sample"] == 0) & (heads["trajectory_dimensions"] > 0)
    for i in np.flatnonzero(unknown):
        centre[i] = np.argmin(np.sum(k[i, : n_samples[i]].astype(np.float64) ** 2, axis=1))
    return centre.astype(np.int32)


def directions_of(heads: acquisition.Heads, notes: list[str]) -> NDArray[np.float64]:
    """(3, 3) rows: unit vectors of readout, phase and slice, from the first acquisition."""
    rows = np.stack([heads[0][name] for name in ("read_dir", "phase_dir", "slice_dir")]).astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1)
    if lengths[0] > 0.5 and lengths[1] > 0.5 and not lengths[2] > 0.5:
        rows[2] = np.cross(rows[0], rows[1])
    if not np.allclose(rows @ rows.T, np.eye(3), atol=1e-3):
        notes.append("directions are not three unit vectors at right angles; patient axes are used")
        return np.eye(3)
    u, _, v = np.linalg.svd(rows)  # the nearest exact rotation: float32 leaves 1e-7
    return u @ v


def completed(header: Header, heads: acquisition.Heads, dwell: NDArray[np.float64], notes: list[str]) -> Header:
    """The header with the geometry and bandwidth that only acquisitions tell."""
    directions = directions_of(heads, [])
    for name in ("read_dir", "slice_dir"):
        if np.abs(heads[name] - heads[name][0]).max() > 1e-3:
            notes.append("acquisitions differ in orientation; that of the first is used")
            break
    positions = heads["position"].astype(np.float64) * mm
    slices: tuple[tuple[float, float, float], ...] = ()
    fov, encoded_fov = header.fov, header.encoded_fov or header.fov
    if header.dimensions == 2:
        number, first = np.unique(heads["idx"]["slice"], return_index=True)
        of_slice = np.zeros((int(number[-1]) + 1, 3))
        of_slice[number] = positions[first]
        centre = positions[first].mean(axis=0)
        slices = tuple((float(p[0]), float(p[1]), float(p[2])) for p in of_slice)
        along = np.unique(np.round(positions[first] @ directions[2], 6))
        if len(along) > 1:
            stack = float(np.median(np.diff(along))) * header.matrix[2]
            fov, encoded_fov = (*fov[:2], stack), (*encoded_fov[:2], stack)
    else:
        centre = positions[0]
    n_samples = int(heads["number_of_samples"][0])
    rows = tuple((float(r[0]), float(r[1]), float(r[2])) for r in directions)
    return replace(
        header,
        directions=rows,
        position=(float(centre[0]), float(centre[1]), float(centre[2])),
        slice_positions=slices,
        fov=fov,
        encoded_fov=encoded_fov,
        bandwidth=1 / (n_samples * float(dwell[0])) if dwell[0] > 0 else None,
    )
