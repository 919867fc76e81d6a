"""The Bloch equation for isochromats, compiled: steps of a pulse, free precession, listening.

    M' = 2 pi M x B - relaxation,   B = (Re b, Im b, f) in Hz   (signs: units.py)

so M turns clockwise about B by 2 pi |B| dt in a step of constant B (Rodrigues). Relaxation acts half before and half
after each rotation (Strang splitting). Between pulses everything is exact. Arrays are per isochromat ("row").
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

LANES = 16  # fixed parts in which rows are played and then summed in order: the same bytes for any number of threads
_NOTHING, _PULSE, _LISTEN, _BOTH = range(4)


@njit(cache=True)
def _turn(r, bx, by, f, duration):
    """Writes the rotation about (bx, by, f) into r (3, 3)."""
    strength = math.sqrt(bx * bx + by * by + f * f)
    if strength == 0.0:
        r[:] = 0.0
        r[0, 0] = r[1, 1] = r[2, 2] = 1.0
        return
    x, y, z = bx / strength, by / strength, f / strength
    angle = 2 * math.pi * strength * duration
    c, s = math.cos(angle), -math.sin(angle)  # clockwise
    v = 1 - c
    r[0, 0], r[0, 1], r[0, 2] = c + x * x * v, x * y * v - z * s, x * z * v + y * s
    r[1, 0], r[1, 1], r[1, 2] = y * x * v + z * s, c + y * y * v, y * z * v - x * s
    r[2, 0], r[2, 1], r[2, 2] = z * x * v - y * s, z * y * v + x * s, c + z * z * v


@njit(cache=True)
def _step(m, r, half2, half1):
    """One step on the columns of m (3, column); the last column is a magnetisation that recovers, the others are
    differences between magnetisations, which only decay."""
    last = m.shape[1] - 1
    for j in range(m.shape[1]):
        x, y, z = m[0, j] * half2, m[1, j] * half2, m[2, j] * half1
        if j == last:
            z += 1 - half1
        m[0, j] = (r[0, 0] * x + r[0, 1] * y + r[0, 2] * z) * half2
        m[1, j] = (r[1, 0] * x + r[1, 1] * y + r[1, 2] * z) * half2
        m[2, j] = (r[2, 0] * x + r[2, 1] * y + r[2, 2] * z) * half1
        if j == last:
            m[2, j] += 1 - half1


@njit(cache=True)
def _through(m, samples, signal, duration, b, gradient, frequency, drive, position, offset, rate1, rate2):
    """Takes the columns of m through a pulse, in the pulse's frame; the last column's M_xy goes to signal[samples]."""
    r = np.empty((3, 3))
    last_dt, half2, half1 = -1.0, 1.0, 1.0
    for i in range(len(duration)):
        dt = duration[i]
        if dt != last_dt:
            last_dt, half2, half1 = dt, math.exp(-rate2 * dt / 2), math.exp(-rate1 * dt / 2)
        at = b[i] * drive
        f = offset - frequency
        for axis in range(3):
            f += gradient[i, axis] * position[axis]
        _turn(r, at.real, at.imag, f, dt)
        _step(m, r, half2, half1)
        if samples[i] >= 0:
            last = m.shape[1] - 1
            signal[samples[i]] = complex(m[0, last], m[1, last])


@njit(cache=True)
def _rotate(m, column, factor):
    xy = complex(m[0, column], m[1, column]) * factor
    m[0, column], m[1, column] = xy.real, xy.imag


@njit(parallel=True, cache=True)
def pulse_maps(maps, duration, b, gradient, frequency, turn, drive, position, offset, rate1, rate2):
    """Writes the affine map of one pulse of phase 0 into maps (row, 3, 4): M -> maps[:, :3] M + maps[:, 3]."""
    none, nowhere = np.full(len(duration), -1, np.int32), np.zeros(1, np.complex128)
    for row in prange(len(maps)):
        m = maps[row]
        m[:] = 0.0
        m[0, 0] = m[1, 1] = m[2, 2] = 1.0
        for j in range(3):
            _rotate(m, j, np.conj(turn[0]))
        _through(
            m,
            none,
            nowhere,
            duration,
            b,
            gradient,
            frequency,
            drive[row],
            position[row],
            offset[row],
            rate1[row],
            rate2[row],
        )
        for j in range(4):
            _rotate(m, j, turn[1])


@njit(cache=True)
def _random(seed, row, entry, axis):
    """Uniform in (0, 1): a hash of its arguments (splitmix64), so that the walk does not depend on the threads."""
    z = np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(row) * np.uint64(0xA0761D6478BD642F)
    z += np.uint64(entry) * np.uint64(0xE7037ED1A0B428DB) + np.uint64(axis) * np.uint64(0x9E3779B97F4A7C15)
    z += np.uint64(0x9E3779B97F4A7C15)
    for _ in range(2):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (float(z >> np.uint64(11)) + 0.5) * 2.0**-53


@njit(cache=True)
def _normals(seed, row, entry, pair):
    """Two independent normals, by Box and Muller."""
    radius = math.sqrt(-2 * math.log(_random(seed, row, entry, 2 * pair)))
    angle = 2 * math.pi * _random(seed, row, entry, 2 * pair + 1)
    return radius * math.cos(angle), radius * math.sin(angle)


@njit(cache=True)
def _walk(position, diffusion, duration, k, k_integral, k_squared, seed, row, entry):
    """Lets a row walk for a while; returns the phase in turns that its path adds to that of staying at its start.

    The path's end X and phase, integral (K(T) - K(t)).dW, are jointly normal: given X, the phase is normal about
    c.X, c = K(T) - integral K / T, with variance 2 D (integral |K(T) - K|^2 - T |c|^2). Exact for any duration.
    """
    turns, spread = 0.0, k_squared
    scale = math.sqrt(2 * diffusion * duration)
    n0, n1 = _normals(seed, row, entry, 0)
    n2, n3 = _normals(seed, row, entry, 1)
    for axis in range(3):
        step = scale * (n0 if axis == 0 else n1 if axis == 1 else n2)
        c = k[axis] - k_integral[axis] / duration
        turns += c * step
        spread += k[axis] * (k[axis] * duration - 2 * k_integral[axis]) - duration * c * c
        position[axis] += step
    return turns + math.sqrt(max(0.0, 2 * diffusion * spread)) * n3


@njit(cache=True)
def free(m, position, offset, rate1, rate2, duration, k):
    """Exact free precession of one row; m (3,)."""
    turns = offset * duration
    for axis in range(3):
        turns += k[axis] * position[axis]
    decay = math.exp(-rate2 * duration)
    angle = -2 * math.pi * turns
    c, s = math.cos(angle) * decay, math.sin(angle) * decay
    m[0], m[1] = c * m[0] - s * m[1], s * m[0] + c * m[1]
    e1 = math.exp(-rate1 * duration)
    m[2] = m[2] * e1 + 1 - e1


@njit(cache=True)
def _listen(line, xy, position, offset, rate2, time, k, is_uniform):
    """Adds one row's signal in a window to line (sample,); xy is its M_xy at the window's start."""
    n = len(time)
    if is_uniform and n > 1:
        turns, per_step = offset * time[0], offset * (time[n - 1] - time[0]) / (n - 1)
        for axis in range(3):
            turns += k[0, axis] * position[axis]
            per_step += (k[n - 1, axis] - k[0, axis]) / (n - 1) * position[axis]
        decay = math.exp(-rate2 * (time[n - 1] - time[0]) / (n - 1))
        angle = -2 * math.pi * per_step
        ratio = complex(decay * math.cos(angle), decay * math.sin(angle))
        angle = -2 * math.pi * turns
        now = xy * math.exp(-rate2 * time[0]) * complex(math.cos(angle), math.sin(angle))
        for i in range(n):
            line[i] += now
            now *= ratio
        return
    for i in range(n):
        turns = offset * time[i]
        for axis in range(3):
            turns += k[i, axis] * position[axis]
        angle = -2 * math.pi * turns
        line[i] += xy * (math.exp(-rate2 * time[i]) * complex(math.cos(angle), math.sin(angle)))


@njit(parallel=True, cache=True)
def play_lanes(
    out, m, position, offset, rate1, rate2, diffusion, drive, weight, receive, count, maps, mapped, seed, first_row,
    first_entry, duration, walked, k, k_integral, k_squared, kind, item, phase, readout,
    pulse_first, pulse_duration, pulse_b, pulse_gradient, pulse_frequency, pulse_turn, pulse_sample,
    window_first, window_time, window_k, window_spread, window_uniform,
):  # fmt: skip
    """Plays some entries of a score on all rows; adds to out (lane, readout, rx, sample). State: m (row, 3), position.

    Rows i * count to (i + 1) * count belong to spin i; lanes take whole spins. receive is (rx, spin), weight (spin,).
    mapped (pulse, spin): whether the pulse's map holds wherever a row has walked. walked (entry,): how long rows walk
    before an entry, the pulse before it, in which they stood still, included.
    """
    n_spins = len(m) // count
    for lane in prange(LANES):
        line = np.zeros(out.shape[3], np.complex128)
        own = np.zeros(out.shape[3], np.complex128)
        column = np.zeros((3, 1))
        for entry in range(len(duration)):
            what, which, row_out = kind[entry], item[entry], readout[entry]
            p0, p1, w0, w1 = 0, 0, 0, 0
            if what == _PULSE or what == _BOTH:
                p0, p1 = pulse_first[which], pulse_first[which + 1]
            if what == _LISTEN:
                w0, w1 = window_first[which], window_first[which + 1]
            for spin in range(lane * n_spins // LANES, (lane + 1) * n_spins // LANES):
                line[:] = 0.0
                d = diffusion[spin]
                for row in range(spin * count, (spin + 1) * count):
                    state, place = m[row], position[row]
                    free(state, place, offset[row], rate1[spin], rate2[spin], duration[entry], k[entry])
                    if d > 0.0 and walked[entry] > 0.0:
                        turns = _walk(
                            place, d, walked[entry], k[entry], k_integral[entry], k_squared[entry],
                            seed, first_row + row, first_entry + entry,
                        )  # fmt: skip
                        angle = -2 * math.pi * turns
                        xy = complex(state[0], state[1]) * complex(math.cos(angle), math.sin(angle))
                        state[0], state[1] = xy.real, xy.imag
                    if what == _LISTEN:
                        _listen(
                            line, complex(state[0], state[1]), place, offset[row], rate2[spin], window_time[w0:w1],
                            window_k[w0:w1], window_uniform[which],
                        )  # fmt: skip
                    elif what == _PULSE and mapped[which, spin]:
                        # the map is of phase 0: turn M into its frame and back
                        xy = complex(state[0], state[1]) * np.conj(phase[entry])
                        a = maps[which, row]
                        x = a[0, 0] * xy.real + a[0, 1] * xy.imag + a[0, 2] * state[2] + a[0, 3]
                        y = a[1, 0] * xy.real + a[1, 1] * xy.imag + a[1, 2] * state[2] + a[1, 3]
                        state[2] = a[2, 0] * xy.real + a[2, 1] * xy.imag + a[2, 2] * state[2] + a[2, 3]
                        xy = complex(x, y) * phase[entry]
                        state[0], state[1] = xy.real, xy.imag
                    elif what == _PULSE or what == _BOTH:
                        # step by step, where the row has moved or samples fall within the pulse
                        frame = phase[entry] * pulse_turn[which, 0]
                        column[0, 0], column[1, 0], column[2, 0] = state[0], state[1], state[2]
                        _rotate(column, 0, np.conj(frame))
                        own[:] = 0.0
                        _through(
                            column, pulse_sample[p0:p1], own, pulse_duration[p0:p1], pulse_b[p0:p1],
                            pulse_gradient[p0:p1], pulse_frequency[which], drive[which, spin], place, offset[row],
                            rate1[spin], rate2[spin],
                        )  # fmt: skip
                        _rotate(column, 0, phase[entry] * pulse_turn[which, 1])
                        state[0], state[1], state[2] = column[0, 0], column[1, 0], column[2, 0]
                        if row_out >= 0 and what == _BOTH:
                            since = 0.0
                            for i in range(p0, p1):
                                since += pulse_duration[i]
                                if pulse_sample[i] >= 0:
                                    angle = -2 * math.pi * pulse_frequency[which] * since
                                    back = frame * complex(math.cos(angle), math.sin(angle))
                                    line[pulse_sample[i]] += own[pulse_sample[i]] * back
                if what == _LISTEN and d > 0.0:
                    # Brownian paths within the window, averaged: exp(-4 pi^2 D integral |k(i) - k(t)|^2 dt)
                    # (Stejskal & Tanner 1965)
                    for i in range(w0, w1):
                        line[i - w0] *= math.exp(-4 * math.pi**2 * d * window_spread[i])
                if row_out >= 0:
                    for rx in range(out.shape[2]):
                        factor = receive[rx, spin] * weight[spin]
                        for i in range(out.shape[3]):
                            out[lane, row_out, rx, i] += factor * line[i]
