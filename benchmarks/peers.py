"""The peers of the benchmarks: the flow written by hand in NumPy, and other packages where they are installed.

JiTCODE, pyodesys and diffrax get the balanced flow in logarithms written out for I = H = 3, as scalar SymPy expressions
with common ones shared; scikit-sundae gets headflow's generated NumPy code.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from sympy import Symbol, cse, lambdify, symbols

from headflow.theory import gradient_flow, to_log
from headflow.theory.indexed import unroll

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from oracles.plain_rhs import make_plain  # hand-typed formulas live there only

Run = Callable[..., np.ndarray]


def plain_code(problem: Any) -> tuple[Run, Run]:
    """(t, y) → dy/dt of the balanced flow in logarithms and its Jacobian, as one first writes them in NumPy."""
    values = problem.float_values()
    named = {"lam": values["lambda"], "d": values["d"], "sigma2": values["sigma2"], "L": values["L"]}
    return make_plain(named, problem.n_heads)


def written_out(n_tasks: int, n_heads: int, values: dict[str, Any]) -> tuple[list[Symbol], list[Any]]:
    """The state's symbols and the velocity, entry by entry; names without a value stay symbols."""
    system = to_log(gradient_flow("balanced"))
    shape = [(i, h) for i in range(1, n_tasks + 1) for h in range(1, n_heads + 1)]
    known = {**values, "I": n_tasks, "H": n_heads}
    definitions = (*system.parameter_definitions, *system.definitions)
    state, names, velocity = [], {}, []
    for variable in system.state:
        for i, h in shape:
            state.append(Symbol(f"{variable.base.label}_{i}_{h}"))
            names[variable.base[i, h]] = state[-1]
    for variable, rhs in zip(system.state, system.velocity, strict=True):
        for i, h in shape:
            one = rhs.xreplace(dict(zip(variable.indices, (i, h), strict=True)))
            velocity.append(unroll(one, known, definitions).xreplace(names))
    return state, velocity


def jitcode_run(problem: Any, start: np.ndarray, times: np.ndarray) -> Run | None:
    """JiTCODE with LSODA and its own Jacobian; seconds to minutes of compilation."""
    if not (find_spec("jitcode") and find_spec("symengine")):
        return None
    from jitcode import jitcode, y

    exact = problem.exact_values()
    state, velocity = written_out(problem.n_tasks, problem.n_heads, exact)
    shared, outputs = cse(velocity)
    back = {symbol: y(place) for place, symbol in enumerate(state)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        helpers = [(symbol, body.subs(back)) for symbol, body in shared]
        ode = jitcode([body.subs(back) for body in outputs], helpers=helpers, n=len(state), wants_jacobian=True)
        ode.compile_C(extra_compile_args=["-O2", "-march=native"])

    def run(rtol: float, path: bool = False) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ode.set_integrator("lsoda", rtol=rtol, atol=rtol, nsteps=10**6)
            ode.set_initial_value(start, 0.0)
            found = [np.array(ode.integrate(t)) for t in (times if path else times[-1:])]
        return np.array(found) if path else found[-1]

    return run


def pyodesys_run(problem: Any, start: np.ndarray, times: np.ndarray) -> Run | None:
    """pyodesys with SciPy's LSODA and its own symbolic Jacobian."""
    if not find_spec("pyodesys"):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyodesys.symbolic import SymbolicSys

        state, velocity = written_out(problem.n_tasks, problem.n_heads, problem.exact_values())
        system = SymbolicSys(list(zip(state, velocity, strict=True)))

    def run(rtol: float, path: bool = False) -> np.ndarray:
        points = np.array([0.0, *(times if path else times[-1:])])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = system.integrate(
                points, start, integrator="scipy", name="lsoda", rtol=rtol, atol=rtol, nsteps=10**6
            )
        return found.yout[1:] if path else found.yout[-1]

    return run


def cvode_run(velocity: Run, jacobian: Run, start: np.ndarray, times: np.ndarray) -> Run | None:
    """scikit-sundae's CVODE with BDF and dense solves, from (t, y) → dy/dt and its Jacobian."""
    if not find_spec("sksundae"):
        return None
    from sksundae.cvode import CVODE

    def right_hand_side(t: float, y: np.ndarray, out: np.ndarray) -> None:
        out[:] = velocity(t, y)

    def matrix(t: float, y: np.ndarray, rate: np.ndarray, out: np.ndarray) -> None:
        out[:] = jacobian(t, y)

    def run(rtol: float, path: bool = False) -> np.ndarray:
        solver = CVODE(right_hand_side, method="BDF", jacfn=matrix, rtol=rtol, atol=rtol, max_num_steps=10**6)
        points = np.array([0.0, *(times if path else times[-1:])])
        found = solver.solve(points, start)
        return found.y[1:] if path and len(points) > 2 else found.y[-1]

    return run


def jax_velocity(n_tasks: int, n_heads: int) -> Callable[..., Any]:
    """(y, d, λ, σ², L) → dy/dt for JAX."""
    import jax.numpy as jnp

    d, power = symbols(f"d_1:{n_tasks + 1}"), symbols(f"p_1:{n_tasks + 1}")
    noise, length = symbols("sigma2 L")
    state, velocity = written_out(n_tasks, n_heads, {"d": d, "lambda": power, "sigma2": noise, "L": length})
    function = lambdify([*state, *d, *power, noise, length], velocity, modules="jax", cse=True)
    return lambda y, d, power, noise, length: jnp.stack(function(*y, *d, *power, noise, length))


def diffrax_run(problem: Any, start: np.ndarray, times: np.ndarray, solver: str) -> Run | None:
    """One trajectory, jitted, in float64."""
    if not find_spec("diffrax"):
        return None
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    values, velocity = problem.float_values(), jax_velocity(problem.n_tasks, problem.n_heads)
    given = (values["d"], values["lambda"], values["sigma2"], values["L"])

    def solved(rtol: Any, saved: Any) -> Any:
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, _: velocity(y, *given)),
            getattr(diffrax, solver)(),
            0.0,
            float(times[-1]),
            None,
            jnp.asarray(start),
            saveat=diffrax.SaveAt(ts=saved),
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=rtol),
            max_steps=10**5,
            throw=False,  # what did not come to the end has no finite state, and no error small enough
        )
        return found.ys

    compiled = jax.jit(solved)

    def run(rtol: float, path: bool = False) -> np.ndarray:
        found = np.asarray(compiled(rtol, jnp.asarray(times if path else times[-1:])))
        return found if path else found[-1]

    return run


def diffrax_many(n_tasks: int, n_heads: int, t_final: float, solver: str) -> Callable[..., np.ndarray] | None:
    """(starts, d, λ, σ², L, rtol) with a leading axis of members → last states, by vmap."""
    if not find_spec("diffrax"):
        return None
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    velocity = jax_velocity(n_tasks, n_heads)

    def one(start: Any, d: Any, power: Any, noise: Any, length: Any, rtol: Any) -> Any:
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, _: velocity(y, d, power, noise, length)),
            getattr(diffrax, solver)(),
            0.0,
            t_final,
            None,
            start,
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=rtol),
            max_steps=5 * 10**4,  # a member that needs more delivers nothing
            throw=False,
        )
        return found.ys[-1]

    compiled = jax.jit(jax.vmap(one, in_axes=(0, 0, 0, 0, 0, None)))
    return lambda *arguments: np.asarray(compiled(*map(jnp.asarray, arguments)))
