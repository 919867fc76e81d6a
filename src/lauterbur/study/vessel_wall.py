"""How well an image shows vessel walls: lumen and wall measured in cross-sections, and whether a lesion can be told from none.

    found = sections(magnitude, affine, subject.vessels)         # lumen and wall every millimetre, beside the truth
    share = painted(cloud, cloud.tissue == plaque, affine, shape)    # where it lies, as pixels: the observer's template
    auc, low, high = separation(with_it, without)                # of an observer who goes by `seen(magnitude, share)`

Edges are halfway between neighbouring plateaus of the mean profile across the vessel, as readers measure them: below about
1.5 pixels a wall looks as wide as the point spread, and a bias of that kind is part of the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, spline_filter
from scipy.spatial import cKDTree

from lauterbur.errors import InputError
from lauterbur.subject.anatomy import PointCloud
from lauterbur.subject.vasculature import Vasculature, Vessel, arc
from lauterbur.units import mm

Float = NDArray[np.float64]
RAY = 0.05 * mm  # steps of the profile across a vessel
BEYOND = 1.5 * mm  # of the wall, where the surroundings are looked for
ANGLES = 48
ALONG = (-0.5 * mm, 0.0, 0.5 * mm)  # slices along the vessel that are averaged
APART = 1.0 * mm  # between the wall of this vessel and that of another
AHEAD = 1.0 * mm  # over which a vessel's direction is taken
LEAST_CONTRAST = (
    4.0  # of an edge, in standard deviations of its noise: less is no edge; extremes of noise alone reach 3
)


@dataclass(frozen=True)
class Section:
    """One cross-section; m. NaN where an edge could not be found."""

    vessel: str
    place: tuple[float, float, float]
    lumen: float  # diameter
    wall: float  # thickness
    true_lumen: float
    true_wall: float
    contrast: float  # wall over lumen
    sharpness: float  # 1/m, steepest slope between lumen and wall over the height of that edge


def sections(
    magnitude: NDArray, affine: Float, vasculature: Vasculature, *, noise: float = 0.0, step: float = 1 * mm
) -> list[Section]:
    """Cross-sections of healthy, lone stretches of vessels that lie wholly inside the image (z, y, x).

    `noise`: standard deviation of a pixel; an edge that does not stand out of it counts as not found.
    """
    if magnitude.ndim != 3 or not np.isfinite(magnitude).all():
        raise InputError(f"an image of shape {magnitude.shape}; three axes (z, y, x) and finite pixels are needed")
    smooth = spline_filter(magnitude.astype(np.float64), order=3)
    inverse = np.linalg.inv(affine)
    pixel = float(abs(np.linalg.det(affine[:3, :3]))) ** (1 / 3)
    found = []
    for vessel in vasculature.vessels:
        others = [v for v in vasculature.vessels if v is not vessel]
        along = arc(vessel)
        for at in np.arange(AHEAD, along[-1] - AHEAD, step):
            i = int(np.searchsorted(along, at))
            if not _is_lone(vessel, i, others) or not _is_healthy(vessel, i, vasculature):
                continue
            profile = _profile(smooth, inverse, vessel, i)
            if profile is not None:
                x, y, z = (float(value) for value in vessel.centreline[i])
                true = float(vessel.diameter[i])
                lumen, wall, contrast, sharpness = _measure(profile, true / 2, vessel.wall, noise, pixel)
                found.append(Section(vessel.name, (x, y, z), lumen, wall, true, vessel.wall, contrast, sharpness))
    return found


def _is_lone(vessel: Vessel, i: int, others: list[Vessel]) -> bool:
    """Whether no other vessel comes near this place."""
    place, reach = vessel.centreline[i], vessel.diameter[i] / 2 + vessel.wall
    return all(
        np.all(np.linalg.norm(o.centreline[::10] - place, axis=1) > reach + o.diameter[::10] / 2 + o.wall + APART)
        for o in others
    )


def _is_healthy(vessel: Vessel, i: int, vasculature: Vasculature) -> bool:
    place = vessel.centreline[i]
    for plaque in vasculature.plaques:
        if plaque.vessel == vessel.name and np.linalg.norm(place - plaque.position) < plaque.length / 2 + APART:
            return False
    for flap in vasculature.flaps:
        if flap.vessel == vessel.name:
            ends = [int(cKDTree(vessel.centreline).query(end)[1]) for end in (flap.start, flap.end)]
            margin = round(APART / (arc(vessel)[-1] / len(vessel.centreline)))
            if min(ends) - margin <= i <= max(ends) + margin:
                return False
    return True


def _profile(smooth: Float, inverse: NDArray[np.floating], vessel: Vessel, i: int) -> Float | None:
    """(radius,) mean over angles and a millimetre of length; None where the vessel's surroundings leave the image."""
    along = arc(vessel)
    ahead = int(np.searchsorted(along, along[i] + AHEAD / 2))
    behind = int(np.searchsorted(along, along[i] - AHEAD / 2))
    direction = vessel.centreline[min(ahead, len(along) - 1)] - vessel.centreline[behind]
    direction /= np.linalg.norm(direction)
    across = np.cross(direction, np.eye(3)[np.argmin(np.abs(direction))])
    across /= np.linalg.norm(across)
    other = np.cross(direction, across)
    radius = np.arange(0, vessel.diameter[i] / 2 + vessel.wall + BEYOND, RAY)
    angle = 2 * np.pi * np.arange(ANGLES) / ANGLES
    ring = np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * other  # (angle, 3)
    total = np.zeros(len(radius))
    for shift in ALONG:
        j = min(int(np.searchsorted(along, along[i] + shift)), len(along) - 1)
        place = vessel.centreline[j] + radius[:, None, None] * ring
        index = (place @ inverse[:3, :3].T + inverse[:3, 3])[..., ::-1]
        if not np.all((index >= 1) & (index <= np.array(smooth.shape) - 2)):
            return None
        values = map_coordinates(smooth, np.moveaxis(index, -1, 0), order=3, prefilter=False)
        total += values.mean(axis=1)
    return total / len(ALONG)


def _measure(
    profile: Float, radius: float, wall: float, noise: float, pixel: float
) -> tuple[float, float, float, float]:
    """Lumen diameter, wall thickness (m), wall over lumen, and sharpness (1/m): edges halfway up the mean profile."""
    nan = float("nan")
    r = RAY * np.arange(len(profile))
    near = (r > radius - 2 * pixel) & (r < radius + wall + 2 * pixel)
    peak = int(np.flatnonzero(near)[np.argmax(profile[near])])
    inside, outside = float(profile[: peak + 1].min()), float(profile[peak:].min())
    dark, far = int(np.argmin(profile[: peak + 1])), peak + int(np.argmin(profile[peak:]))
    contrast = float(profile[peak] / max(inside, 1e-30))

    def stands_out(low: int) -> bool:  # of the noise of two rings' means, which hold about so many pixels
        length = (ALONG[-1] - ALONG[0] + pixel) / pixel
        held = [max(1.0, 2 * np.pi * max(r[at] / pixel, 0.5) * length) for at in (low, peak)]
        return bool(profile[peak] - profile[low] > LEAST_CONTRAST * noise * np.sqrt(1 / held[0] + 1 / held[1]))

    if not stands_out(dark):
        return nan, nan, contrast, nan
    rise = np.diff(profile[dark : peak + 1])
    sharpness = float(rise.max(initial=0.0) / RAY / (profile[peak] - inside))
    inner = _crossing(r[dark : peak + 1], profile[dark : peak + 1], (inside + profile[peak]) / 2)
    if not stands_out(far):
        return 2 * inner, nan, contrast, sharpness
    outer = _crossing(r[peak : far + 1][::-1], profile[peak : far + 1][::-1], (outside + profile[peak]) / 2)
    return 2 * inner, outer - inner, contrast, sharpness


def _crossing(r: NDArray[np.floating], values: NDArray[np.floating], level: float) -> float:
    """Where values, low at first and high at the end, last rise above the level."""
    below = np.flatnonzero(values < level)
    if not len(below):
        return float(r[0])
    i = int(below[-1])
    if i + 1 == len(values):
        return float(r[-1])
    share = (level - values[i]) / (values[i + 1] - values[i])
    return float(r[i] + share * (r[i + 1] - r[i]))


def painted(cloud: PointCloud, chosen: NDArray[np.bool_], affine: Float, shape: tuple[int, int, int]) -> Float:
    """(z, y, x) share of each pixel that the chosen points fill, spread linearly between pixels; outside is left out."""
    inverse = np.linalg.inv(affine)
    index = (cloud.position[chosen] @ inverse[:3, :3].T + inverse[:3, 3])[:, ::-1]
    share = cloud.volume[chosen] / abs(float(np.linalg.det(affine[:3, :3])))
    low = np.floor(index).astype(int)
    part = index - low
    out = np.zeros(shape)
    for corner in np.ndindex(2, 2, 2):
        at = low + corner
        weight = share * np.prod(np.where(np.array(corner), part, 1 - part), axis=1)
        inside = np.all((at >= 0) & (at < shape), axis=1)
        np.add.at(out, tuple(at[inside].T), weight[inside])
    return out


def seen(magnitude: NDArray, weights: Float) -> float:
    """What an observer who knows place and shape goes by: the mean of the image under the template."""
    if not np.sum(weights) > 0:
        raise InputError("the template is empty: the lesion lies outside the image")
    return float(np.sum(magnitude * weights) / np.sum(weights))


def separation(present: Float, absent: Float, *, seed: int = 0, n_boot: int = 2000) -> tuple[float, float, float]:
    """Area under the ROC curve of observations with and without a lesion (Mann and Whitney 1947), and its 95 % interval.

    The interval is a bootstrap's where the two overlap; where they do not, it reaches down to the exact bound of
    n independent pairs without an error, 0.05^(1/n), n the smaller number of observations.
    """
    present, absent = np.asarray(present, float), np.asarray(absent, float)
    if min(len(present), len(absent)) < 2:
        raise InputError(
            f"{len(present)} observations with and {len(absent)} without it; at least two of each are needed"
        )
    area = _area(present, absent)
    rng = np.random.default_rng(seed)
    drawn = [_area(rng.choice(present, len(present)), rng.choice(absent, len(absent))) for _ in range(n_boot)]
    low, high = (float(v) for v in np.percentile(drawn, (2.5, 97.5)))
    if area == 1.0:
        low = min(low, 0.05 ** (1 / min(len(present), len(absent))))
    return area, low, high


def _area(present: Float, absent: Float) -> float:
    difference = present[:, None] - absent[None, :]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))
