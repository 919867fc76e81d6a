"""Susceptibility to off-resonance: the field of a magnetised body by one convolution.

    dB / B0 = IFFT[(1/3 - k_z^2 / k^2) FFT[chi]],  z along B0

(Salomir et al., Concepts Magn Reson B 2003, 19B:26; Marques and Bowtell, ibid. 2005, 25B:65). The 1/3 is the sphere of
Lorentz: a spin sits in a little empty sphere, so that a uniform ball in air shifts nothing inside itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft

PADDING = 0.5  # of the grid's size, at least, added along each axis of the fine transform
WIDE = 3.0  # the same for a coarse one, COARSER times, that takes out the field of the fine one's periodic images
COARSER = 4
FULL = 0.99  # of a voxel in tissue: its field is that of tissue, not a mean with the air's


def dipole_field(
    chi: NDArray[np.float32], affine: NDArray[np.float64], continues: Sequence[str] = ()
) -> NDArray[np.float32]:
    """dB/B0 in the unit of chi, (z, y, x); chi is relative to what lies around the grid.

    `continues` names faces ("-z" ...) beyond which the body goes on as it ends there.
    """
    box = [COARSER * fft.next_fast_len(int(np.ceil(n * (1 + PADDING) / COARSER)), real=True) for n in chi.shape]
    field = _periodic(chi, affine, continues, box)

    # The transform repeats the body in every direction. That field is smooth here: computed coarsely in a wide box, and without.
    blocks = [-(-n // COARSER) for n in chi.shape]
    whole = np.zeros([n * COARSER for n in blocks], np.float32)
    whole[tuple(slice(n) for n in chi.shape)] = chi
    for face in continues:  # a last block must not thin out where the body goes on
        axis = "zyx".index(face[1])
        if face[0] == "+":
            np.moveaxis(whole, axis, 0)[chi.shape[axis] :] = np.moveaxis(whole, axis, 0)[chi.shape[axis] - 1]
    coarse = whole.reshape(blocks[0], COARSER, blocks[1], COARSER, blocks[2], COARSER).mean(axis=(1, 3, 5))
    scale = np.diag([COARSER, COARSER, COARSER, 1.0])
    narrow = [n // COARSER for n in box]
    wide = [
        max(n, fft.next_fast_len(int(np.ceil(b * (1 + WIDE))), real=True)) for n, b in zip(narrow, blocks, strict=True)
    ]
    smooth = _periodic(coarse, affine @ scale, continues, wide) - _periodic(coarse, affine @ scale, continues, narrow)
    for i_axis, n in enumerate(
        chi.shape
    ):  # linear in between; each turn takes the first axis and appends it as the last
        place = np.clip((np.arange(n) - (COARSER - 1) / 2) / COARSER, 0, blocks[i_axis] - 1)
        matrix = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(blocks[i_axis]))).astype(np.float32)
        smooth = np.tensordot(smooth, matrix, axes=(0, 1))
    return field + smooth


def _periodic(
    chi: NDArray[np.float32], affine: NDArray[np.float64], continues: Sequence[str], box: Sequence[int]
) -> NDArray[np.float32]:
    """The field of the body in air, repeated with the period of the box (voxels)."""
    shape = chi.shape
    before = [(large - n) // 2 for large, n in zip(box, shape, strict=True)]
    field = np.zeros(box, np.float32)
    middle = tuple(slice(b, b + n) for b, n in zip(before, shape, strict=True))
    field[middle] = chi
    for face in continues:  # only the part beyond that face; edges and corners stay air
        axis = "zyx".index(face[1])
        beyond, edge = list(middle), list(middle)
        beyond[axis] = slice(0, before[axis]) if face[0] == "-" else slice(before[axis] + shape[axis], None)
        last = before[axis] if face[0] == "-" else before[axis] + shape[axis] - 1
        edge[axis] = slice(last, last + 1)
        field[tuple(beyond)] = field[tuple(edge)]

    spectrum = fft.rfftn(field, overwrite_x=True)
    del field
    to_patient = np.linalg.inv(affine[:3, :3]).T  # cycles per voxel (x, y, z) -> 1/m in the patient
    kx, ky, kz = fft.rfftfreq(box[2]), fft.fftfreq(box[1])[:, None], fft.fftfreq(box[0])
    for i_z, k_slice in enumerate(kz):
        k = [row[0] * kx + row[1] * ky + row[2] * k_slice for row in to_patient]
        square = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
        if i_z == 0:
            square[0, 0] = 1.0
        spectrum[i_z] *= (1 / 3 - k[2] ** 2 / square).astype(np.float32)
    spectrum[0, 0, 0] = 0  # dipoles have no mean over a large cube around them
    return fft.irfftn(spectrum, box, overwrite_x=True)[middle]


def in_tissue(field: NDArray[np.float32], filled: NDArray[np.float32]) -> NDArray[np.float32]:
    """The field that the tissue in each voxel feels: where air has a part in it, the mean of the full voxels around.

    The field jumps at a border; a voxel's mean over both sides is felt by neither. Voxels without a full neighbour ask
    those mended before them, twice; what is then left keeps its own.
    """
    known = np.pad(filled >= FULL, 1)
    values = np.pad(field, 1)
    rows = np.array(values.strides) // values.itemsize
    around = np.array([np.dot(rows, step) for step in itertools.product((-1, 0, 1), repeat=3) if any(step)])
    for _ in range(2):
        asking = np.flatnonzero(np.pad(filled > 0, 1) & ~known)
        total, count = np.zeros(len(asking)), np.zeros(len(asking), np.int8)
        for offset in around:
            has = known.reshape(-1)[asking + offset]
            total += np.where(has, values.reshape(-1)[asking + offset], 0)
            count += has
        mended = asking[count > 0]
        values.reshape(-1)[mended] = (total[count > 0] / count[count > 0]).astype(np.float32)
        known.reshape(-1)[mended] = True
    return np.ascontiguousarray(values[1:-1, 1:-1, 1:-1])
