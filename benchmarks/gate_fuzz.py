"""The gate against many random programs, each with one planted violation: none may pass.

    python benchmarks/gate_fuzz.py --programs 100000 --seed 1

Every rule of tests/safety/planted.py takes its turn; the slow ones (thousands of blocks) one turn in a hundred. Each
program is also judged before anything is planted and must pass then. Prints what was tried, per rule, and exits with 1
where a program passed, was refused for another reason alone, or made the gate stumble.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from lauterbur.errors import RefusedError
from lauterbur.safety.gate import clear, findings

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "safety"))
from planted import COOL, MACHINE, RULES, good

SLOW = ("mean_gradient_power",)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--controls", type=int, default=10, help="one unspoiled program in so many is judged too")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    tried: Counter[str] = Counter()
    wrong: list[str] = []
    controls, begin, turn = 0, time.process_time(), 0
    while sum(tried.values()) < arguments.programs:
        turn += 1
        for name, rule in RULES.items():
            if (name in SLOW and turn % 100) or sum(tried.values()) >= arguments.programs:
                continue
            plan = good(rng)
            if sum(tried.values()) % arguments.controls == 0:
                controls += 1
                wrong += [f"unspoiled: {f.sentence()}" for f in findings(plan, MACHINE, None, COOL) if not f.ok]
            bad, sar, quantity = rule(rng, plan)
            tried[name] += 1
            try:
                clear(bad, MACHINE, None, sar)
            except RefusedError as refusal:
                if not any(f.quantity.startswith(quantity) and not f.ok for f in refusal.findings):
                    wrong.append(f"{name}: refused, but not for {quantity}: {refusal}")
            except Exception as stumble:
                wrong.append(f"{name}: {type(stumble).__name__}: {stumble}")
            else:
                wrong.append(f"{name}: passed")
    seconds = time.process_time() - begin
    for name, count in sorted(tried.items()):
        print(f"{count:7d}  {name}")
    print(f"{sum(tried.values())} spoiled programs of {len(tried)} rules, {controls} unspoiled; {len(wrong)} wrong")
    print(f"{seconds:.0f} CPU seconds, {1e3 * seconds / max(1, sum(tried.values())):.2f} ms a program")
    for line in wrong[:20]:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
