"""NIfTI images: `write_nifti` for what we made, `read_nifti` for what others made, both in patient coordinates.

NIfTI counts in mm with x to the right and y to the front; we count in m with x to the left and y to the back: the
affine is turned here and nowhere else. Layout: nifti1.h and nifti2.h of the NIfTI Data Format Working Group.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import FileFormatError, InputError, ResourceError, UnsupportedError
from lauterbur.formats.atomic import replacing
from lauterbur.image import Image, without_timings
from lauterbur.units import mm

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # patient left, back, head <-> right, front, head
_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 32: "c8", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8"} | {
    1280: "u8",
    1792: "c16",
}
_UNITS = {0: mm, 1: 1.0, 2: mm, 3: 1e-6}  # lowest three bits of xyzt_units; 0, unknown, is mm by custom
LARGEST = 8_000_000_000  # bytes of voxels that are read
_DEFLATE = 1100  # a gzip stream grows at most 1032-fold


def write_nifti(
    image: Image | NDArray[Any],
    path: str | os.PathLike[str],
    name: str | None = None,
    *,
    affine: NDArray[np.float64] | None = None,
) -> None:
    """Magnitude as float32; `.nii.gz` is compressed. The same image gives the same bytes.

    write_nifti(image, "image.nii.gz")                # all frames
    write_nifti(image, "b0.nii.gz", "off_resonance")  # one of image.maps; real maps keep their sign
    write_nifti(array, "x.nii", affine=affine)        # (z, y, x) or (frame, z, y, x), affine in patient m
    """
    provenance: dict[str, Any] = {}
    tr = None
    if isinstance(image, Image):
        if name is not None and name not in image.maps:
            raise InputError(f"the image has no map {name!r}; it has {', '.join(image.maps) or 'none'}")
        values = np.asarray(image.pixels if name is None else image.maps[name])
        affine, provenance, tr = image.affine, without_timings(image.provenance), image.tr
    else:
        values = np.asarray(image)
    if affine is None or affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise InputError(f"{path}: an image needs a finite affine of shape (4, 4)")
    if values.ndim not in (3, 4):
        raise InputError(f"{path}: pixels of shape {values.shape}; expected (z, y, x) or (frame, z, y, x)")

    plain = np.abs(values) if np.iscomplexobj(values) else values
    if plain.ndim == 4 and plain.shape[0] == 1:
        plain = plain[0]
    lps_mm = np.array(affine, float)
    lps_mm[:3] /= mm
    nifti = nib.Nifti1Image(np.asarray(plain, np.float32).T, _FLIP @ lps_mm)
    nifti.header.set_xyzt_units("mm", "sec")
    nifti.set_sform(nifti.affine, 1)  # 1: scanner coordinates
    nifti.set_qform(nifti.affine, 1, strip_shears=True)
    if plain.ndim == 4:
        nifti.header["pixdim"][4] = tr or 0.0
    source = str(provenance.get("source", ""))
    nifti.header["descrip"] = {"twin": b"Lauterbur: simulated", "": b"Lauterbur"}.get(
        source, f"Lauterbur: {source}"[:79].encode()
    )
    if provenance:
        text = json.dumps({"provenance": provenance}, sort_keys=True, default=str)
        nifti.header.extensions.append(nib.nifti1.Nifti1Extension("comment", text.encode()))

    with replacing(path) as temporary, open(temporary, "wb") as file:
        if str(path).endswith(".gz"):
            with gzip.GzipFile(filename="", mode="wb", compresslevel=4, fileobj=file, mtime=0) as packed:
                packed.write(nifti.to_bytes())
        else:
            file.write(nifti.to_bytes())


def read_nifti(path: str | os.PathLike[str]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """((z, y, x) or (frame, z, y, x) voxels, (4, 4) affine from voxel indices (x, y, z) to patient m)."""
    target = Path(path)
    try:
        if not target.is_file():
            raise InputError(f"{path}: not a file" if target.exists() else f"{path}: no such file")
        size = target.stat().st_size
        with open(target, "rb") as file:
            is_packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream: BinaryIO = gzip.GzipFile(fileobj=file) if is_packed else file  # type: ignore[assignment]
            with np.errstate(all="ignore"):  # what overflows is found and refused
                return _read(stream, size * (_DEFLATE if is_packed else 1), path)
    except (zlib.error, EOFError, OSError, ValueError) as problem:
        raise FileFormatError(path, "", f"cannot be read: {str(problem)[:200] or type(problem).__name__}") from None


def _read(stream: BinaryIO, size: int, path: object) -> tuple[NDArray[Any], NDArray[np.float64]]:
    head = stream.read(348)
    if len(head) < 348:
        raise FileFormatError(path, "header", f"{len(head)} bytes; a NIfTI header has at least 348")
    order = next((o for o in "<>" if struct.unpack(o + "i", head[:4])[0] in (348, 540)), None)
    if order is None:
        raise FileFormatError(path, "header", "the first number is neither 348 nor 540: not a NIfTI file")
    header = _Header(head, order, stream, path)

    shape = header.shape()
    kind = np.dtype(order + header.kind())
    need = int(np.prod(shape, dtype=object)) * kind.itemsize
    if not header.offset + need <= size:
        raise FileFormatError(
            path, "header, dim", f"{shape} voxels need {need} bytes; the file can hold at most {size}"
        )
    if need > LARGEST:
        raise ResourceError(f"{path}: {need / 1e9:.1f} GB of voxels; at most {LARGEST / 1e9:.0f} GB are read")

    _skip(stream, header.offset - header.length, path)
    voxels = np.frombuffer(_exactly(stream, need, path), kind).reshape(shape[::-1])
    values = voxels.astype(kind.newbyteorder("="))
    slope, intercept = header.scaling()
    if (slope, intercept) != (1.0, 0.0):
        wide = np.float64 if kind.itemsize > 4 and kind.kind != "c" else np.float32
        values = values * (slope if kind.kind == "c" else wide(slope)) + wide(intercept)
        if not np.isfinite(values).all():
            raise FileFormatError(path, "header, scl_slope", f"slope {slope} makes voxels that are not finite")
    return values, header.affine()


class _Header:
    """The fields that matter, of either version."""

    def __init__(self, head: bytes, order: str, stream: BinaryIO, path: object):
        self.path = path
        if struct.unpack(order + "i", head[:4])[0] == 540:
            head += _exactly(stream, 192, path)
            self.magic, self.length = head[4:12], 540
            self.code, dim, self.pixdim = self._at(order, head, "h", 12)[0], "8q", self._at(order, head, "8d", 104)
            self.dim = self._at(order, head, dim, 16)
            offset, self.slope = self._at(order, head, "q", 168)[0], self._at(order, head, "2d", 176)
            self.qform, self.sform = self._at(order, head, "2i", 344)
            self.quaternion, self.rows = self._at(order, head, "6d", 352), self._at(order, head, "12d", 400)
            self.units = self._at(order, head, "i", 500)[0]
            single = self.magic == b"n+2\0\r\n\x1a\n"
        else:
            self.magic, self.length = head[344:348], 348
            self.dim, self.code = self._at(order, head, "8h", 40), self._at(order, head, "h", 70)[0]
            self.pixdim, offset = self._at(order, head, "8f", 76), self._at(order, head, "f", 108)[0]
            self.slope, self.units = self._at(order, head, "2f", 112), head[123]
            self.qform, self.sform = self._at(order, head, "2h", 252)
            self.quaternion, self.rows = self._at(order, head, "6f", 256), self._at(order, head, "12f", 280)
            single = self.magic == b"n+1\0"
        if not single:
            pair = self.magic[:3] in (b"ni1", b"ni2")
            problem = "header of a .hdr/.img pair; convert it to one .nii file" if pair else "not a NIfTI file"
            raise FileFormatError(path, "header, magic", f"{self.magic!r}: {problem}")
        if not self.length <= offset <= 1e15 or offset != int(offset):
            raise FileFormatError(
                path, "header, vox_offset", f"{offset}; expected a whole number from {self.length} on"
            )
        self.offset = int(offset)

    @staticmethod
    def _at(order: str, head: bytes, form: str, place: int) -> tuple[Any, ...]:
        return struct.unpack_from(order + form, head, place)

    def shape(self) -> tuple[int, ...]:
        """(x, y, z) or (x, y, z, frame)."""
        n_dims = self.dim[0]
        if not 1 <= n_dims <= 7:
            raise FileFormatError(self.path, "header, dim", f"{n_dims} dimensions; expected 1 to 7")
        sizes = self.dim[1 : n_dims + 1]
        if min(sizes) < 1:
            raise FileFormatError(self.path, "header, dim", f"sizes {sizes}; expected positive numbers")
        if max(sizes[4:], default=1) > 1:
            raise UnsupportedError(f"{self.path}: {n_dims} dimensions {sizes}; three and a frame are read")
        padded = (*sizes[:4], *(1,) * (3 - len(sizes)))
        return padded if len(padded) == 4 and padded[3] > 1 else padded[:3]

    def kind(self) -> str:
        if self.code not in _TYPES:
            raise UnsupportedError(f"{self.path}: data type {self.code}; read are {', '.join(map(str, _TYPES))}")
        return _TYPES[self.code]

    def scaling(self) -> tuple[float, float]:
        slope, intercept = self.slope
        if not np.isfinite(slope) or slope == 0:  # nifti1.h: slope 0 means unscaled; NaN is how some write "unset"
            return 1.0, 0.0
        if not np.isfinite(intercept):
            raise FileFormatError(self.path, "header, scl_inter", f"{intercept}; expected a finite number")
        return float(slope), float(intercept)

    def affine(self) -> NDArray[np.float64]:
        matrix = np.eye(4)
        if self.sform > 0:
            matrix[:3] = np.reshape(self.rows, (3, 4))
        elif self.qform > 0:
            matrix[:3] = self._of_quaternion()
        else:
            matrix[:3, :3] = np.diag(np.abs(self.pixdim[1:4]))
        unit = _UNITS.get(int(self.units) & 7)
        if unit is None:
            raise FileFormatError(self.path, "header, xyzt_units", f"unit {int(self.units) & 7}; expected m, mm or um")
        matrix[:3] *= unit
        steps = np.linalg.norm(matrix[:3, :3], axis=0)
        is_sound = np.all(np.isfinite(matrix)) and np.all((steps > 1e-9) & (steps < 1e3))
        if not (is_sound and abs(np.linalg.det(matrix[:3, :3] / steps)) > 1e-3):
            raise FileFormatError(
                self.path, "header, affine", f"voxel steps {steps} m; expected three finite, independent directions"
            )
        return _FLIP @ matrix

    def _of_quaternion(self) -> NDArray[np.float64]:
        """nifti1.h, method 2."""
        b, c, d, x, y, z = (float(v) for v in self.quaternion)
        a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
        rotation = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
            ]
        )
        scale = np.array(self.pixdim[1:4], float) * [1, 1, -1 if self.pixdim[0] < 0 else 1]
        return np.column_stack((rotation * scale, [x, y, z]))


def _skip(stream: BinaryIO, n: int, path: object) -> None:
    while n > 0:
        got = len(stream.read(min(n, 1 << 20)))
        if not got:
            raise FileFormatError(path, "header, vox_offset", "lies beyond the end of the file")
        n -= got


def _exactly(stream: BinaryIO, n: int, path: object) -> bytearray:
    """n bytes, held only as far as the file really has them."""
    buffer = io.BytesIO()
    while buffer.tell() < n:
        piece = stream.read(min(n - buffer.tell(), 1 << 22))
        if not piece:
            raise FileFormatError(path, "", f"ends after {buffer.tell()} of {n} bytes: truncated")
        buffer.write(piece)
    return bytearray(buffer.getbuffer())
