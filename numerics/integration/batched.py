"""Members of an ensemble stepped together by JAX: Rodas5P with the generated Jacobian, on whatever device JAX has.

What `loops` does for one member after the other happens here for all at once, which suits a GPU: every step is taken by
all members that are not at the end yet, so the slowest one decides how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np

from ...theory.flows.system import ReducedSystem
from ..code.backends import functions
from ..flows.dynamics import Chart
from ..flows.ties import IntArray
from ..problem.problem import FloatArray
from ..steps import loops, tableau

_RUNNING: Final = -1
_BISECTIONS: Final = 50

Array = Any  # of JAX


def follow(
    chart: Chart,
    codes: IntArray,
    shape: tuple[int, int],
    t_final: float,
    rtol: float,
    atols: FloatArray,
    levels: FloatArray,
    most: int,
    growth: float,
    pushes: FloatArray,
    times: FloatArray,
) -> tuple[FloatArray, ...]:
    """Integrate members of equal shape; see `loops.follow`, also for the ``codes`` of ties.

    Returns μ and ω at the ends and beside them, shape (2, members, 2IH), the reports, shape (members, 6), and μ and ω,
    shape (members, T, 2IH), and the loss at the times, NaN after the end.
    """
    stepped = _compiled(chart.system, shape, chart.log, bool(np.isfinite(levels).any()), codes.size > 0)
    ends, beside, curves, losses, *reports = (
        np.array(one, dtype=np.float64)
        for one in stepped(chart.values, codes, chart.start, pushes, atols, levels, rtol, t_final, most, growth, times)
    )
    return np.stack([ends, beside]), np.stack(reports, axis=1), curves, losses


@lru_cache(maxsize=32)
def _compiled(
    system: ReducedSystem, shape: tuple[int, int], log: bool, watching: bool, tying: bool
) -> Callable[..., Any]:
    import jax
    import jax.numpy as jnp
    from jax.scipy.linalg import lu_factor, lu_solve

    made = functions(system, "jax", n_tasks=shape[0], n_heads=shape[1])
    eye = jnp.eye(made.size)

    def tied(codes: Array, rates: Array) -> Array:
        """The rates that tied entries have; see `loops.tie`."""
        return jnp.sign(codes) * rates[jnp.abs(codes) - 1] if tying else rates

    def tied_matrix(codes: Array, jacobian: Array) -> Array:
        """See `loops.tie_matrix`."""
        if not tying:
            return jacobian
        firsts = jnp.sign(codes)[:, None] * jax.nn.one_hot(jnp.abs(codes) - 1, made.size)
        return firsts @ jacobian @ firsts

    def step(
        values: Mapping[str, Array], codes: Array, pace: Callable[[Array], Array], s: Array, h: Array, y: Array
    ) -> Any:
        """The new state, its error, and the vectors of the dense output."""
        first = pace(s) * tied(codes, made.velocity(y, values))
        factors = lu_factor(eye / (h * tableau.GAMMA) - pace(s) * tied_matrix(codes, made.jacobian(y, values)))
        stages: list[Array] = []
        trial = y
        for row, into, node, slope in zip(tableau.A, tableau.C, tableau.NODES, tableau.SLOPES, strict=True):
            trial = y + sum(weight * stage for weight, stage in zip(row, stages, strict=True))
            rate = pace(s + node * h) * made.velocity(trial, values) if stages else first
            coupled = sum(weight / h * stage for weight, stage in zip(into, stages, strict=True))
            stages.append(tied(codes, lu_solve(factors, rate + h * slope * first + coupled)))
        dense_coefficients = jnp.array(tableau.DENSE) @ jnp.stack(stages)
        return trial + stages[-1], stages[-1], dense_coefficients

    def member(
        values: Mapping[str, Array],
        codes: Array,
        start: Array,
        pushes: Array,
        atol: Array,
        level: Array,
        rtol: Array,
        t_final: Array,
        most: Array,
        growth: Array,
        times: Array,
    ) -> tuple[Array, ...]:
        speed, loss = jnp.abs(tied(codes, made.velocity(start, values))).max(), made.loss(start, values)
        largest = 1.0 if log else jnp.abs(start).max()
        rate = jnp.where(largest > 0, speed / jnp.where(largest > 0, largest, 1.0), speed)
        longest = jnp.clip(1 / jnp.where(rate > 0, rate, 1.0), t_final * 1e-300, t_final)
        unit = jnp.where(rate > 0, longest, t_final)
        end, asked = jnp.log1p(t_final / unit), jnp.log1p(times / unit)

        def pace(s: Array) -> Array:
            return unit * jnp.exp(s)

        def body(now: dict[str, Array]) -> dict[str, Array]:
            s, y = now["s"], now["y"]
            last = (s + now["h"] >= end) | (end - (s + now["h"]) < 1e-3 * now["h"])
            h = jnp.where(last, end - s, jnp.where(s + 2 * now["h"] > end, (end - s) / 2, now["h"]))
            trial, missed, dense_coefficients = step(values, codes, pace, s, h, y)
            scale = atol + rtol * jnp.maximum(jnp.abs(y), jnp.abs(trial))
            error = jnp.sqrt(jnp.mean((missed / scale) ** 2))
            sound = jnp.isfinite(error)
            accepted = sound & (error <= 1)
            bounded = jnp.where(sound, jnp.maximum(error, 1e-10), 1.0)
            most_growth = jnp.where(accepted, jnp.where(now["rejected"], 1.0, growth), 0.9)
            factor = jnp.clip(loops.SAFETY * bounded**-0.2, loops.SHRINK, most_growth)
            factor = jnp.where(sound, factor, 0.1)
            reached = jnp.where(last, end, s + h)
            count = now["count"] + tableau.STAGES
            shortest = loops.SHORTEST * jnp.maximum(s, 1e-12 * end)
            status = jnp.where(accepted & last, loops.REACHED, _RUNNING)
            status = jnp.where((status == _RUNNING) & (count >= most), loops.EXHAUSTED, status)
            stuck = ~accepted & (factor * h <= shortest)
            status = jnp.where(stuck, jnp.where(sound, loops.TOO_SMALL, loops.OVERFLOW), status)
            found = {
                **now,
                "s": jnp.where(accepted, reached, s),
                "h": factor * h,
                "y": jnp.where(accepted, trial + h * pushes * (1 + jnp.abs(trial) if log else trial), y),
                "missed": jnp.where(accepted, missed, now["missed"]),
                "count": count,
                "rejected": ~accepted,
                "status": status,
            }
            inside = accepted & (asked > s) & (asked <= reached)
            within = jax.vmap(lambda part: interpolated(part, y, trial, dense_coefficients))((asked - s) / h)
            found["curve"] = jnp.where(inside[:, None], within, now["curve"])
            if watching:
                after = made.loss(trial, values)
                crosses = accepted & ~now["crossed"] & (after <= level) & (level < now["loss"])
                bracket = {
                    "from": s,
                    "length": h,
                    "before": y,
                    "after": trial,
                    "dense_coefficients": dense_coefficients,
                }
                found |= {name: jnp.where(crosses, value, now[name]) for name, value in bracket.items()}
                found |= {"crossed": now["crossed"] | crosses, "loss": jnp.where(accepted, after, now["loss"])}
            return found

        sound = jnp.isfinite(loss) & jnp.isfinite(speed)
        begin = {
            "s": jnp.zeros(()),
            "h": jnp.minimum(0.2 * rtol**0.2, end),
            "y": start,
            "missed": jnp.zeros_like(start),
            "count": jnp.zeros((), int),
            "rejected": jnp.zeros((), bool),
            "status": jnp.where(sound, _RUNNING, loops.UNSOUND),
            "curve": jnp.broadcast_to(start, (len(times), made.size)),
        }
        if watching:
            begin |= {"from": jnp.zeros(()), "length": jnp.zeros(()), "before": start, "after": start}
            begin |= {"dense_coefficients": jnp.zeros((3, made.size)), "crossed": jnp.zeros((), bool), "loss": loss}
        done = jax.lax.while_loop(lambda now: now["status"] == _RUNNING, body, begin)
        t = jnp.where(done["status"] == loops.REACHED, t_final, unit * jnp.expm1(done["s"]))
        crossing = jnp.full((), jnp.nan)
        if watching:
            crossing = jnp.where(done["crossed"], unit * jnp.expm1(crossed_at(values, done, level)), jnp.nan)
        ends, near = done["y"], done["y"] + done["missed"]

        def weights(y: Array) -> Array:
            return tied(codes, made.named(y, values, ("mu", "omega")))

        gone = asked > done["s"]
        curve = jnp.where(gone[:, None], jnp.nan, jax.vmap(weights)(done["curve"]))
        losses = jnp.where(gone, jnp.nan, jax.vmap(lambda y: made.loss(y, values))(done["curve"]))
        report = (done["status"], t, made.loss(ends, values), loss, crossing, made.loss(near, values))
        return weights(ends), weights(near), curve, losses, *report

    def interpolated(part: Array, before: Array, after: Array, dense_coefficients: Array) -> Array:
        """See `loops.interpolated`."""
        bend = dense_coefficients[0] + part * (dense_coefficients[1] + part * dense_coefficients[2])
        return (1 - part) * before + part * (after + (1 - part) * bend)

    def crossed_at(values: Mapping[str, Array], done: dict[str, Array], level: Array) -> Array:
        """Log time at which the loss passes the level inside the step that was kept."""

        def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = ends
            part = (low + high) / 2
            y = interpolated(part, done["before"], done["after"], done["dense_coefficients"])
            above = made.loss(y, values) > level
            return jnp.where(above, part, low), jnp.where(above, high, part)

        _, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (jnp.zeros(()), jnp.ones(())))
        return done["from"] + high * done["length"]

    compiled: Callable[..., Any] = jax.jit(jax.vmap(member, in_axes=(*(0,) * 6, *(None,) * 5)))
    return compiled
