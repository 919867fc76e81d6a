"""Variable refocusing angles: the echoes are as prescribed by a graph written apart, the centre is met at TE."""

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from small_protocols import SMALL

from lauterbur.errors import ProtocolError
from lauterbur.program import Column, block_starts
from lauterbur.protocol.library import load_protocol
from lauterbur.scanner.profiles import load_scanner
from lauterbur.sequence.contrasts import build_program
from lauterbur.sequence.description import placed
from lauterbur.sequence.interleaving import dealt_outwards
from lauterbur.sequence.limits import limits
from lauterbur.sequence.refocusing import APPROACH, echo_signals, prescribed, refocusing_angles
from lauterbur.sequence.sampling import plane
from lauterbur.sequence.tse_volume import volume_train
from lauterbur.subject.parameters import relaxation
from lauterbur.subject.tissues import read_tissues
from lauterbur.units import ms

sys.path.insert(0, str(Path(__file__).parents[1] / "acquisition"))
from epg import PhaseGraph

SPACING, T1, T2 = 5.6 * ms, 1.8, 56 * ms
HIGHEST = np.radians(120)
SCANNER = load_scanner("5T")


def test_echoes_agree_with_a_graph_written_apart():
    angles = np.radians(np.random.default_rng(1).uniform(10, 170, 25))
    graph = PhaseGraph(120)
    graph.pulse(np.pi / 2, np.pi / 2)
    found = []
    for angle in angles:
        for half in range(2):
            if half == 1:
                graph.pulse(angle, 0.0)
            graph.relax(SPACING / 2, T1, T2)
            graph.shift()
        found.append(abs(graph.f_plus[0]))
    np.testing.assert_allclose(np.abs(echo_signals(angles, SPACING, T1, T2)), found, rtol=1e-10)


@pytest.mark.parametrize("n", [12, 44, 60])
def test_angles_give_the_prescribed_echoes_and_no_more_than_they_may(n):
    angles = refocusing_angles(n, SPACING, T1, T2, HIGHEST)
    echoes = echo_signals(angles, SPACING, T1, T2)
    left = APPROACH ** (n - 1)
    level = (echoes[-1] - left * echoes[0]) / (1 - left)
    np.testing.assert_allclose(echoes, prescribed(n, level, echoes[0]), rtol=1e-9)
    assert np.all(angles > 0) and np.max(angles) == pytest.approx(HIGHEST, abs=1e-3)
    # without relaxation a train of constant low angles holds sin(angle / 2): Alsop 1997
    level = refocusing_angles(60, SPACING, np.inf, np.inf, np.radians(60))
    assert echo_signals(level, SPACING, np.inf, np.inf)[-1] == pytest.approx(0.5, abs=0.02)


def test_higher_angles_hold_a_higher_level_and_longer_trains_a_lower_one():
    def last(n, degrees):
        return echo_signals(refocusing_angles(n, SPACING, T1, T2, np.radians(degrees)), SPACING, T1, T2)[-1]

    assert last(44, 60) < last(44, 120) < last(44, 170)
    assert last(60, 120) < last(44, 120) < last(20, 120)


@pytest.mark.parametrize("name", ["regular", "poisson"])
def test_the_centre_of_k_space_is_met_at_te_and_rings_outwards_by_echoes_ever_less_like_that_one(name):
    p = replace(SMALL["tse-3d"], elliptical=True)
    if name == "poisson":
        p = replace(p, sampling="poisson", undersampling=2.0, reference_lines=(4, 4))
    chosen = plane(p, partitions_inside=False)
    strength = np.array([3.0, 1.2, 1.05, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.98, 0.96, 0.94])
    dealt = dealt_outwards(chosen, p.matrix[1:], strength, at_te=3)
    taken = dealt[dealt >= 0]
    assert np.array_equal(np.sort(taken), np.arange(len(chosen)))  # each once
    assert np.all(dealt[:, 0] == -1)  # three times as strong as all others: not heard
    radius = np.hypot((chosen.line - 12) / 24, (chosen.partition - 4) / 8)
    rings = [radius[dealt[:, i][dealt[:, i] >= 0]] for i in (3, 4, 5, 6, 7, 8, 9, 10, 2, 11, 1)]
    assert rings[0].min() == 0
    assert all(inner.max() <= outer.min() + 1e-9 for inner, outer in pairwise(rings))

    program = build_program(p, SCANNER)
    row = program.labels
    is_centre = (row["LIN"] == 12) & (row["PAR"] == 4) & (program.blocks[:, Column.ADC] >= 0)
    assert row["SEG"][is_centre].tolist() == [
        round(p.te[0] / volume_train(p, limits(SCANNER, p.directions), 4.95).spacing) - 1
    ]


@pytest.mark.parametrize("name", ["brain/vessel-wall", "brain/vessel-wall-fast"])
def test_neighbouring_rings_of_the_vessel_walls_are_equally_strong(name):
    """What the order of echoes paints over the image: the weight of grey matter's echoes outwards from the centre of k-space.

    The outermost ring, of the second echo, may be stronger: beyond it there is nothing that it could stand out of.
    """
    p = load_protocol(name)
    program = build_program(p, SCANNER)
    row = program.labels
    heard = program.blocks[:, Column.ADC] >= 0
    plan = volume_train(placed(p, SCANNER), limits(SCANNER, p.directions), SCANNER.field_strength)
    t1, t2, _ = relaxation(read_tissues()["grey matter"], SCANNER.field_strength)
    weight = echo_signals(plan.angles, plan.spacing, t1, t2)[row["SEG"][heard]]
    radius = np.hypot(row["LIN"][heard] / p.matrix[1] - 0.5, row["PAR"][heard] / p.matrix[2] - 0.5)
    rings = np.array([ring.mean() for ring in np.array_split(weight[np.argsort(radius)], 4 * p.echo_train)])
    assert np.max(np.abs(np.diff(rings[:-8]))) < 0.1 * rings[0]
    assert rings.max() < 1.4 * rings.min()


def test_refocusing_pulses_lie_midway_and_flips_are_those_designed():
    p = SMALL["tse-3d"]
    plan = volume_train(p, limits(SCANNER, p.directions), SCANNER.field_strength)
    program = build_program(p, SCANNER)
    blocks = np.flatnonzero(program.blocks[:, Column.RF] >= 0)[:13]
    pulses = [program.rf[program.blocks[i, Column.RF]] for i in blocks]
    when = np.array([block_starts(program)[i] + q.delay + q.center for i, q in zip(blocks, pulses, strict=True)])
    np.testing.assert_allclose(np.diff(when), [plan.spacing / 2] + [plan.spacing] * 11, atol=1e-9)
    turned = [2 * np.pi * abs(q.waveform.sum()) * 1e-6 for q in pulses]
    np.testing.assert_allclose(turned, [np.pi / 2, *plan.angles], rtol=1e-9)


@pytest.mark.parametrize(
    "change, sentence",
    [
        (dict(echo_spacing=2 * ms, te=(4 * ms,)), "at least .* ms is possible"),
        (dict(tr=40 * ms), "at most .* echoes, is possible"),
        (dict(te=(250 * ms,)), "lies outside a train"),
        (dict(refocusing_angle=np.radians(12), echo_train=300, echo_spacing=6 * ms, tr=3.0), "cannot hold a train"),
        (dict(rf_duration=0.1 * ms), "peak B1"),
    ],
)
def test_what_cannot_be_played_is_refused_with_what_can(change, sentence):
    with pytest.raises(ProtocolError, match=sentence):
        build_program(replace(SMALL["tse-3d"], **change), SCANNER)


def test_the_fast_vessel_wall_takes_at_most_three_and_a_half_minutes():
    from lauterbur.sequence.contrasts import describe

    whole, fast = (describe(load_protocol(f"brain/vessel-wall{x}"), SCANNER) for x in ("", "-fast"))
    assert fast.scan_time <= 210 and 630 <= whole.scan_time <= 690
    assert whole.resolution == fast.resolution == pytest.approx((0.5e-3,) * 3)
