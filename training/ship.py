"""Puts trained weights into the package, with their hash in its code.

    python training/ship.py run/learned.npz

Then run the tests of tests/recon/test_learned.py and benchmarks/recon_quality.py, and write their figures into docs/learned.md.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

from lauterbur.recon import learned_network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    options = parser.parse_args()
    weights = learned_network.read_weights(options.weights.read_bytes())
    code = Path(learned_network.__file__)
    shutil.copyfile(options.weights, code.parent / "data" / learned_network.FILE)
    text = code.read_text(encoding="utf-8")
    code.write_text(re.sub(r'(?m)^SHA256 = ".*"$', f'SHA256 = "{weights.sha256}"', text), encoding="utf-8")
    print(f"{len(weights.turns)} turns, SHA-256 {weights.sha256}")


if __name__ == "__main__":
    main()
