"""How tests run: one BLAS thread per worker, and the same hypothesis examples in every run without a limit."""

from __future__ import annotations

import os

# Workers share the cores; BLAS reads this when NumPy is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from hypothesis import settings

settings.register_profile("headflow", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("headflow")
