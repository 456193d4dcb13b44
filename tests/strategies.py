"""Random inputs for property-based tests."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import strategies as st

from headflow import Problem

positive_numbers = st.one_of(
    st.fractions(min_value=Fraction(1, 10**6), max_value=10**6),
    st.floats(min_value=1e-300, max_value=1e300),
    st.decimals(min_value="1e-6", max_value="1e6", allow_nan=False, places=6).filter(bool),
    st.integers(min_value=1, max_value=10**6),
)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    n_tasks = draw(st.integers(1, 5))
    several = st.lists(positive_numbers, min_size=n_tasks, max_size=n_tasks)
    return Problem(
        dims=draw(st.lists(st.integers(1, 10**6), min_size=n_tasks, max_size=n_tasks)),
        signal_power=draw(several),
        noise_variance=draw(positive_numbers),
        context_length=draw(st.integers(1, 10**6)),
        n_heads=draw(st.integers(1, 8)),
    )
