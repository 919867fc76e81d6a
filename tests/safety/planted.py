"""Random programs that pass the gate, and one planted violation in each: every rule, at any block.

plan = good(rng)                          # passes
bad, sar, quantity = RULES[name](rng, plan)   # must be refused, and by the finding whose name begins with `quantity`;
                                              # sar is None where the rule has nothing to do with heating
"""

from plans import COOL, MACHINE, good
from planted_faults import FAULTS
from planted_limits import LIMITS

__all__ = ["COOL", "MACHINE", "RULES", "good"]

RULES = LIMITS | FAULTS
