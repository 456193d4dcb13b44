"""docs/verification.md: what each verdict on the reference case rests on, and the smallest planted error it detects.

    python benchmarks/evidence.py

verifies every statement in full (minutes) and writes the table anew; its text above the table is kept.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from cases import REFERENCE
from headflow import verify

PAGE = ROOT / "docs" / "verification.md"


def main() -> None:
    text, _, _ = PAGE.read_text(encoding="utf-8").partition("\n| statement")
    PAGE.write_text(f"{text}\n{verify(REFERENCE, workers=2, progress=True).evidence()}", encoding="utf-8")


if __name__ == "__main__":
    main()
