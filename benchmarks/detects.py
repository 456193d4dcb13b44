"""The smallest planted error that each statement's check refutes on the reference case, in quick and in full runs.

    python benchmarks/detects.py [--full] [ID ...]

prints a line for `headflow.numerics.checks.detects.DETECTED` per statement: a constant of the theory is multiplied by
1 + 10^−k as the check sees it, and k is bisected.  Quick runs take minutes for all statements, full ones hours.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from cases import REFERENCE
from plants import SIZED, smallest_refuted


def main(words: list[str]) -> None:
    full = "--full" in words
    for id in [word for word in words if word in SIZED] or list(SIZED):
        quick = smallest_refuted(id, REFERENCE, quick=True)
        begin = 0 if quick is None else round(-math.log10(quick))
        whole = smallest_refuted(id, REFERENCE, quick=False, begin=begin) if full else None
        print(f'    "{id}": Detected("{SIZED[id].planted}", {quick!r}, {whole!r}),', flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
