"""Objects whose k-space is known in closed form: boxes seen by receivers made of few plane waves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lauterbur.rawdata import Header, RawData

# centre m, size m, amplitude: nothing is symmetric, and every direction has its own mark
HEAD = (
    ((0.0, 0.0, 0.0), (0.15, 0.18, 0.14), 1.0),
    ((0.045, 0.01, 0.01), (0.03, 0.05, 0.05), 0.8),
    ((-0.05, -0.05, -0.03), (0.03, 0.03, 0.04), -0.5),
    ((0.0, 0.06, 0.04), (0.02, 0.02, 0.02), 1.5),
    ((0.05, -0.07, 0.03), (0.012, 0.014, 0.03), 1.0),
)
PERIOD = 0.36  # m, of the receivers' sensitivity


@dataclass(frozen=True)
class Receiver:
    centre: tuple[float, float, float]  # m, where it is most sensitive
    phase: float

    def waves(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """Wave numbers 1/m and weights of the sensitivity along one axis: a smooth bump with a phase gradient."""
        m = np.arange(-3, 4)
        q = m / PERIOD
        return q, np.exp(-(m**2) / 3.0) * np.exp(-2j * np.pi * q * self.centre[axis] + 0.2j * m)

    def sensitivity(self, position: np.ndarray) -> np.ndarray:
        """At (..., 3) m."""
        value = np.full(position.shape[:-1], np.exp(1j * self.phase))
        for axis in range(3):
            q, w = self.waves(axis)
            value = value * (np.exp(2j * np.pi * position[..., axis, None] * q) @ w)
        return value


def ring(n_rx: int) -> list[Receiver]:
    """Receivers on a ring about z, alternately above and below."""
    angle = 2 * np.pi * np.arange(n_rx) / n_rx
    return [Receiver((0.12 * np.cos(a), 0.14 * np.sin(a), 0.07 * (-1) ** i), 1.3 * i) for i, a in enumerate(angle)]


def signal(k: np.ndarray, receivers: list[Receiver] | None = None, boxes=HEAD) -> np.ndarray:
    """(..., rx) exact signal of the boxes at (..., 3) 1/m; one uniform receiver by default. Units: boxes' volume."""
    out = []
    for receiver in receivers or [None]:
        total = np.zeros(k.shape[:-1], complex)
        for centre, size, amplitude in boxes:
            value = np.full(k.shape[:-1], complex(amplitude))
            for axis in range(3):
                q, w = (np.zeros(1), np.ones(1)) if receiver is None else receiver.waves(axis)
                some, which = np.unique(k[..., axis], return_inverse=True)  # few distinct values on a grid
                at = some[:, None] - q
                factor = (np.sinc(at * size[axis]) * np.exp(-2j * np.pi * at * centre[axis])) @ w * size[axis]
                value = value * factor[which].reshape(value.shape)
            total += value
        out.append(total if receiver is None else total * np.exp(1j * receiver.phase))
    return np.stack(out, axis=-1)


def raw_of(samples: np.ndarray, k: np.ndarray, header: Header | None, **labels: np.ndarray) -> RawData:
    """Raw data from (readout, sample, rx) and (readout, sample, 3)."""
    n, length = k.shape[:2]
    return RawData(
        samples=np.ascontiguousarray(np.moveaxis(samples, -1, 1), dtype=np.complex64),
        n_samples=np.full(n, length, np.int32),
        k=k.astype(np.float32),
        time=np.arange(n) * 0.01,
        dwell=np.full(n, 1e-5),
        center_sample=np.argmin(np.abs(k[..., 0]), axis=1).astype(np.int32),
        labels={name: np.asarray(value, np.int32) for name, value in labels.items()},
        header=header,
    )


@dataclass(frozen=True)
class Scan:
    """A Cartesian scan of the boxes; `raw()` plays it."""

    matrix: tuple[int, int, int] = (40, 36, 20)
    fov: tuple[float, float, float] = (0.20, 0.22, 0.18)
    oversampling: int = 2
    factors: tuple[int, int] = (1, 1)
    reference_lines: int = 16
    partial: tuple[float, float] = (1.0, 1.0)
    n_rx: int = 1
    cut: int = 0  # samples missing at the start of every readout (asymmetric echo)
    directions: tuple[tuple[float, float, float], ...] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    has_k: bool = True

    @property
    def header(self) -> Header:
        n, fov = self.matrix, self.fov
        return Header(
            matrix=n,
            fov=fov,
            encoded_matrix=(n[0] * self.oversampling, n[1], n[2]),
            encoded_fov=(fov[0] * self.oversampling, fov[1], fov[2]),
            directions=self.directions,
            position=self.position,
            dimensions=3,
        )

    def lines(self) -> np.ndarray:
        """(readout, 2) line and partition."""
        y, z = np.meshgrid(np.arange(self.matrix[1]), np.arange(self.matrix[2]), indexing="ij")
        c_y, c_z = self.matrix[1] // 2, self.matrix[2] // 2
        lattice = ((y - c_y) % self.factors[0] == 0) & ((z - c_z) % self.factors[1] == 0)
        half = self.reference_lines / 2
        near_y = (np.abs(y - c_y) < half) | (self.factors[0] == 1)
        near_z = (np.abs(z - c_z) < half) | (self.factors[1] == 1)
        keep = lattice | (near_y & near_z)
        keep &= (y >= round(self.matrix[1] * (1 - self.partial[0]))) & (
            z >= round(self.matrix[2] * (1 - self.partial[1]))
        )
        return np.stack([y[keep], z[keep]], axis=1)

    def k(self) -> np.ndarray:
        """(readout, sample, 3) 1/m, patient axes."""
        lines = self.lines()
        n_x = self.matrix[0] * self.oversampling
        along = (np.arange(self.cut, n_x) - n_x // 2) / (self.fov[0] * self.oversampling)
        k = np.zeros((len(lines), n_x - self.cut, 3))
        k[..., 0] = along
        k[..., 1] = ((lines[:, 0] - self.matrix[1] // 2) / self.fov[1])[:, None]
        k[..., 2] = ((lines[:, 1] - self.matrix[2] // 2) / self.fov[2])[:, None]
        return k @ np.asarray(self.directions, float)

    def raw(self, noise: float = 0.0, seed: int = 0) -> RawData:
        k, lines = self.k(), self.lines()
        samples = signal(k, ring(self.n_rx) if self.n_rx > 1 else None)
        samples = samples * np.exp(2j * np.pi * (k @ np.asarray(self.position)))[..., None]  # tuned to the centre
        if noise:
            rng = np.random.default_rng(seed)
            samples = samples + noise * (rng.normal(size=samples.shape) + 1j * rng.normal(size=samples.shape))
        raw = raw_of(samples, k, self.header, LIN=lines[:, 0], PAR=lines[:, 1])
        return raw if self.has_k else replace(raw, k=np.zeros_like(raw.k))


def nrmse(image: np.ndarray, truth: np.ndarray) -> float:
    """After one complex scale."""
    scale = np.vdot(image, truth) / np.vdot(image, image)
    return float(np.linalg.norm(scale * image - truth) / np.linalg.norm(truth))


def box_image(affine: np.ndarray, shape: tuple[int, int, int], boxes=HEAD) -> np.ndarray:
    """(z, y, x) amplitudes at voxel centres."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    position = np.stack([x, y, z, np.ones_like(x)], axis=-1) @ affine.T
    out = np.zeros(shape)
    for centre, size, amplitude in boxes:
        out += amplitude * np.all(np.abs(position[..., :3] - centre) <= np.asarray(size) / 2, axis=-1)
    return out
