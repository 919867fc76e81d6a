"""Protocols of every contrast, small enough that their programs are built in no time."""

from dataclasses import replace

from lauterbur.protocol.protocol import Protocol
from lauterbur.units import deg, mm, ms

BASE = Protocol(
    name="small",
    contrast="GRE",
    fov=(200 * mm, 190 * mm, 120 * mm),
    matrix=(32, 24, 8),
    te=(4 * ms,),
    tr=20 * ms,
    flip_angle=15 * deg,
    bandwidth=400.0,
    dummies=2,
)
SLICED = replace(
    BASE,
    dimensions=2,
    fov=(200 * mm, 190 * mm, 5 * mm),
    matrix=(32, 24, 1),
    slices=3,
    slice_gap=1 * mm,
    flip_angle=90 * deg,
    rf_duration=2.5 * ms,
    rf_time_bandwidth=3.0,
)
SMALL = {
    "gre": BASE,
    "multi-echo": replace(BASE, te=(4 * ms, 7 * ms, 10 * ms, 13 * ms), slab_thickness=100 * mm),
    "accelerated": replace(BASE, acceleration=(2, 2), reference_lines=(8, 4), partial_fourier=(0.75, 1.0)),
    "gre-2d": replace(SLICED, te=(4 * ms,), tr=15 * ms, flip_angle=15 * deg, dummies=2),
    "cine": replace(
        SLICED, te=(4 * ms,), tr=15 * ms, flip_angle=15 * deg, dummies=2, slices=1, frames=5, lines_per_frame=7
    ),
    "mprage": replace(BASE, contrast="MPRAGE", ti=300 * ms, tr=700 * ms, echo_spacing=12 * ms, dummies=1),
    "poisson": replace(BASE, matrix=(32, 24, 16), sampling="poisson", undersampling=3.0, reference_lines=(6, 6)),
    "caipi": replace(BASE, matrix=(32, 24, 12), sampling="caipi", acceleration=(2, 2), reference_lines=(8, 4)),
    "bssfp": replace(BASE, contrast="BSSFP", te=(3 * ms,), tr=6 * ms, slab_thickness=100 * mm),
    "bssfp-2d": replace(SLICED, contrast="BSSFP", te=(4 * ms,), tr=8 * ms, flip_angle=40 * deg),
    "tse": replace(SLICED, contrast="TSE", te=(40 * ms,), tr=600 * ms, echo_train=6, dummies=1),
    "tse-3d": replace(
        BASE,
        contrast="TSE",
        te=(18 * ms,),
        tr=300 * ms,
        echo_train=12,
        flip_angle=90 * deg,
        refocusing_angle=120 * deg,
        rf_duration=0.8 * ms,
        dummies=1,
    ),
    "flair": replace(SLICED, contrast="FLAIR", te=(40 * ms,), tr=1200 * ms, ti=300 * ms, echo_train=6, dummies=1),
    "epi": replace(
        SLICED,
        contrast="EPI",
        te=(30 * ms,),
        tr=400 * ms,
        bandwidth=2500.0,
        fat_saturation=True,
        partial_fourier=(0.75, 1.0),
    ),
}
TURNED = {
    "radial": replace(
        SLICED,
        fov=(200 * mm, 200 * mm, 5 * mm),
        matrix=(32, 32, 1),
        te=(4 * ms,),
        tr=60 * ms,
        flip_angle=30 * deg,
        trajectory="radial",
        shots=21,
        dummies=2,
    ),
    "stack": replace(
        BASE,
        fov=(200 * mm, 200 * mm, 40 * mm),
        matrix=(32, 32, 8),
        trajectory="radial",
        shots=13,
        slab_thickness=36 * mm,
        golden_order=3,
    ),
    "spiral": replace(
        SLICED,
        fov=(200 * mm, 200 * mm, 5 * mm),
        matrix=(48, 48, 1),
        te=(3 * ms, 4 * ms),
        tr=80 * ms,
        flip_angle=30 * deg,
        trajectory="spiral",
        shots=4,
        bandwidth=150.0,
        fat_saturation=True,
        dummies=1,
    ),
}
TURNED["radial-frames"] = replace(TURNED["radial"], frames=3, shots=5, te=(4 * ms, 5 * ms))
TURNED["spiral-dense"] = replace(TURNED["spiral"], undersampling=3.0, te=(3 * ms,), frames=2, fat_saturation=False)
