"""A plane wave on a layered sphere, exactly: a Mie series of its own, for judging the volume integral equation.

E_inc = x exp(i k z), exp(-i omega t). Bohren and Huffman, Absorption and Scattering of Light by Small Particles, 1983,
chapters 4 and 8: vector harmonics M_o1n, N_e1n. Here the radial functions of every layer are matched by one small linear
system per order instead of by recurrences of logarithmic derivatives: plain, and good for spheres of a few wavelengths.
"""

import numpy as np
from scipy.special import lpmv, spherical_jn, spherical_yn


def h1(n, z, derivative=False):
    return spherical_jn(n, z, derivative) + 1j * spherical_yn(n, z, derivative)


def coefficients(radii, eps, k, orders):
    """(layer, order, 4): factors of j and h in M (first two) and in N of each layer from inside out, outside last."""
    index = np.sqrt(np.append(np.asarray(eps, complex), 1.0))
    layers = len(radii)
    out = np.zeros((layers + 1, orders + 1, 4), complex)
    for n in range(1, orders + 1):
        for kind in range(2):  # 0: M (transverse electric), 1: N
            matrix = np.zeros((2 * layers, 2 * layers), complex)  # unknown: j of the core, j and h of shells, h outside
            right = np.zeros(2 * layers, complex)
            for i, radius in enumerate(radii):
                for side in range(2):
                    m = index[i + side]
                    x = m * k * radius
                    for which, f in enumerate((spherical_jn, h1)):
                        value, slope = f(n, x), f(n, x) + x * f(n, x, True)
                        pair = (value, m * slope / x) if kind == 0 else (slope / x, m * value)
                        sign = 1 if side == 0 else -1
                        layer = i + side
                        if layer == layers and which == 0:
                            right[2 * i : 2 * i + 2] -= sign * np.array(pair)
                            continue
                        if layer == 0 and which == 1:
                            continue
                        column = 0 if layer == 0 else 2 * layer - 1 + (which if layer < layers else 0)
                        matrix[2 * i : 2 * i + 2, column] = sign * np.array(pair)
            scale = np.abs(matrix).max(axis=0)
            answer = np.linalg.solve(matrix / scale, right) / scale
            out[0, n, 2 * kind] = answer[0]
            for layer in range(1, layers):
                out[layer, n, 2 * kind : 2 * kind + 2] = answer[2 * layer - 1 : 2 * layer + 1]
            out[layers, n, 2 * kind : 2 * kind + 2] = 1, answer[-1]
    return out, index


def fields(points, radii, eps, k, orders=20):
    """E (n, 3), for |E_inc| = 1, and c B (n, 3) at points (n, 3) m; radii from inside out."""
    factor, index = coefficients(radii, eps, k, orders)
    x, y, z = np.asarray(points, float).T
    r = np.maximum(np.sqrt(x * x + y * y + z * z), 1e-9)
    cos, phi = np.clip(z / r, -1 + 1e-12, 1 - 1e-12), np.arctan2(y, x)
    sin = np.sqrt(1 - cos**2)
    layer = np.searchsorted(np.asarray(radii), r)
    rho = index[layer] * k * r
    e, b = np.zeros((2, 3, len(r)), complex)
    for n in range(1, orders + 1):
        p1 = -lpmv(1, n, cos)  # without the Condon-Shortley phase
        pi = p1 / sin
        before = -lpmv(1, n - 1, cos) if n > 1 else np.zeros_like(cos)
        tau = (n * cos * p1 - (n + 1) * before) / sin
        en = 1j**n * (2 * n + 1) / (n * (n + 1))
        for which, f in enumerate((spherical_jn, h1)):
            active = np.ones(len(r), bool) if which == 0 else layer > 0
            value, slope = np.zeros_like(rho), np.zeros_like(rho)
            value[active] = f(n, rho[active])
            slope[active] = value[active] / rho[active] + f(n, rho[active], True)
            m_o = np.stack([0 * rho, np.cos(phi) * pi * value, -np.sin(phi) * tau * value])
            m_e = np.stack([0 * rho, -np.sin(phi) * pi * value, -np.cos(phi) * tau * value])
            radial = n * (n + 1) * sin * pi * value / rho
            n_e = np.stack([np.cos(phi) * radial, np.cos(phi) * tau * slope, -np.sin(phi) * pi * slope])
            n_o = np.stack([np.sin(phi) * radial, np.sin(phi) * tau * slope, np.cos(phi) * pi * slope])
            c, d = factor[layer, n, which], factor[layer, n, 2 + which]
            e += en * (c * m_o - 1j * d * n_e)
            b += -en * index[layer] * (d * m_e + 1j * c * n_o)
    cp, sp = np.cos(phi), np.sin(phi)
    turn = np.array([[sin * cp, cos * cp, -sp], [sin * sp, cos * sp, cp], [cos, -sin, 0 * r]])
    return np.einsum("abn,bn->na", turn, e), np.einsum("abn,bn->na", turn, b)


def efficiencies(radii, eps, k, orders=20):
    """Q_ext, Q_sca, Q_abs of the outer radius."""
    factor, _ = coefficients(radii, eps, k, orders)
    n = np.arange(1, orders + 1)
    b, a = -factor[-1, 1:, 1], -factor[-1, 1:, 3]
    x = k * radii[-1]
    ext = 2 / x**2 * np.sum((2 * n + 1) * (a + b).real)
    sca = 2 / x**2 * np.sum((2 * n + 1) * (abs(a) ** 2 + abs(b) ** 2))
    return ext, sca, ext - sca


class LoopOverSphere:
    """A circular loop of 1 A around the z axis near a layered sphere at the origin, exactly.

    exp(i k R) / 4 pi R = i k / 4 pi sum (2n + 1) j_n(k r<) h_n(k r>) P_n(cos gamma) (Jackson, Classical Electrodynamics, 3rd
    ed., eq. 9.98), integrated around the loop, leaves orders (n, 1) of the transverse electric kind, which the sphere answers as
    in Mie's series (so Keltner et al., MRM 1991, 22:467, for surface coils).
    """

    def __init__(self, radius, height, radii, eps, k, orders=40):
        self.a, self.r0, self.radii, self.k, self.orders = radius, np.hypot(radius, height), radii, k, orders
        self.cos0 = height / self.r0
        self.factor, self.index = coefficients(radii, eps, k, orders)

    def _strength(self, n):  # omega mu0 = 376.73 k Ohm
        z0 = 376.730313668
        return (
            -z0
            * self.k**2
            * self.a
            / 2
            * (2 * n + 1)
            / (n * (n + 1))
            * h1(n, self.k * self.r0)
            * -lpmv(1, n, self.cos0)
        )

    def impedance(self):
        """Ohm: what the sphere adds to the loop's."""
        e = 0
        for n in range(1, self.orders + 1):
            e += self._strength(n) * self.factor[-1, n, 1] * h1(n, self.k * self.r0) * -lpmv(1, n, self.cos0)
        return -2 * np.pi * self.a * e

    def fields(self, points):
        """E V/m and B T, (n, 3), at points in the innermost layer."""
        x, y, z = np.asarray(points, float).T
        r = np.maximum(np.sqrt(x * x + y * y + z * z), 1e-9)
        cos = np.clip(z / r, -1 + 1e-12, 1 - 1e-12)
        sin, rho = np.sqrt(1 - cos**2), self.index[0] * self.k * r
        e, b_r, b_t = np.zeros((3, len(r)), complex)
        for n in range(1, self.orders + 1):
            s = self._strength(n) * self.factor[0, n, 0]
            value, p1 = spherical_jn(n, rho), -lpmv(1, n, cos)
            e += s * value * p1
            b_r += s * value * n * (n + 1) * lpmv(0, n, cos) / r
            b_t -= s * (value + rho * spherical_jn(n, rho, True)) * p1 / r
        omega = self.k * 299792458.0
        b_r, b_t = b_r / (1j * omega), b_t / (1j * omega)
        cp, sp = x / np.maximum(r * sin, 1e-30), y / np.maximum(r * sin, 1e-30)
        field = np.stack([-sp * e, cp * e, 0 * e], 1)
        across = b_r * sin + b_t * cos
        return field, np.stack([across * cp, across * sp, b_r * cos - b_t * sin], 1)
