"""The block of an excitation or refocusing pulse, with the gradient it selects by.

         delay = rise
pulse   ______/\\/~~\\/\\______
slice     ___/~~~~~~~~\\___       before | after the pulse's centre: what must be wound back
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lauterbur.errors import ProtocolError
from lauterbur.program import Gradient, RfPulse
from lauterbur.protocol.protocol import Protocol
from lauterbur.sequence.description import offset
from lauterbur.sequence.limits import Limits, area, ramp, trapezoid, up
from lauterbur.sequence.pulses import at_offset, hard, sinc


@dataclass(frozen=True)
class Excitation:
    pulse: RfPulse
    gradient: Gradient | None  # along the slice; None: not selective
    duration: float  # s, of the block
    center: float  # s, from block start to the centre of the pulse
    before: float  # 1/m, area of the gradient before the centre
    after: float  # 1/m, and from then on


def excitation(protocol: Protocol, limit: Limits, angle: float, place: float = 0.0) -> Excitation:
    """Of everything, of the slab, or of the 2D slice `place` m from the centre of the stack."""
    p = protocol
    thickness = p.slab_thickness if p.is_3d else p.fov[2]
    if thickness is None:
        return unselective(hard(angle, p.rf_duration, limit), limit)
    pulse = sinc(angle, up(p.rf_duration, limit.raster), p.rf_time_bandwidth, limit)
    return selective(pulse, p.rf_time_bandwidth / pulse.duration / thickness, offset(p, 2) + place, limit)


def unselective(pulse: RfPulse, limit: Limits) -> Excitation:
    pulse = replace(pulse, delay=up(limit.rf_dead, limit.rf_raster))
    end = pulse.delay + pulse.duration + limit.ringdown
    return Excitation(pulse, None, up(end, limit.block_raster), pulse.delay + pulse.center, 0.0, 0.0)


def selective(pulse: RfPulse, amplitude: float, place: float, limit: Limits) -> Excitation:
    """The pulse under a gradient, Hz/m, tuned to `place`, m along the slice."""
    if not abs(amplitude) <= limit.amplitude:
        raise ProtocolError(
            f"the slice needs {abs(amplitude) / limit.amplitude:.2g} times the gradient this machine gives; "
            "make it thicker or its pulse longer"
        )
    rise = max(ramp(amplitude, limit), up(limit.rf_dead, limit.raster))
    gradient = trapezoid(amplitude, rise, up(pulse.duration, limit.raster), ramp(amplitude, limit))
    pulse = replace(at_offset(pulse, amplitude * place), delay=rise)
    center = rise + pulse.center
    end = max(gradient.duration, rise + pulse.duration + limit.ringdown)
    before = amplitude * (center - rise / 2)
    return Excitation(pulse, gradient, up(end, limit.block_raster), center, before, area(gradient) - before)
