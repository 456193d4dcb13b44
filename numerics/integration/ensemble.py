"""The verb ``ensemble``: many problems or initial states in one call, one labelled dataset."""

from __future__ import annotations

import json
import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..._version import __version__
from ...theory.choices import checked_closure, checked_parametrisation, unknown
from ...theory.errors import InputError, InputTypeError, ReliabilityWarning, ValidityWarning
from ..compiler import compiler_installed
from ..flows.derived import flow
from ..flows.domain import largest_omega
from ..problem.exact import shown, whole_number
from ..problem.initial import InitialState, RandomStart
from ..problem.problem import FloatArray, Problem
from ..runtime.cores import usable_cores
from ..runtime.progress import progress_bar
from ..runtime.stop import Interrupted, StopReason
from ..solving.solvers import COMPILED
from .integrate import checked_rtol, checked_times
from .members import BACKENDS, Curves, Member, Outcome, Task

if TYPE_CHECKING:
    import xarray

_LARGEST: Final = 400  # variables up to which compiled loops serve an ensemble
_CHUNK: Final = 64  # members that a thread takes at a time
_BATCH: Final = 16_384  # members that JAX steps together,
_NUMBERS: Final = 2**27  # or, if that is fewer, as many as have Jacobians, or curves, of so many entries
_T = TypeVar("_T")


def ensemble(
    problems: Problem | Iterable[Problem],
    initials: InitialState | Iterable[InitialState],
    t_final: float = 1e4,
    parametrisation: str = "balanced",
    closure: str = "leading",
    rtol: float = 1e-3,
    workers: int | None = None,
    progress: bool = False,
    backend: str = "auto",
    times: Iterable[float] | None = None,
    weights: bool = False,
) -> xarray.Dataset:
    """Integrate the gradient flow of many members, and keep where each one ends.

    Each is integrated twice, with rtol/100 and with rtol, as `integrate` does it: the first is the result, the distance
    of the two at ``t_final`` its error estimate.  Where that is above 1e-3, both are made anew with a smaller rtol, if
    that helps.

    Parameters
    ----------
    problems, initials
        One for each member; a single one serves all.  Numbers of tasks and heads may differ.
    t_final
        How long to integrate, > 0, in units of learning rate × steps.
    parametrisation, closure
        Which flow; see `headflow.theory.choices`.
    rtol
        Relative tolerance, from 1e-12 to 1e-2.
    workers
        Threads; default: the processor cores that this process may use.
    progress
        Show a bar on standard error, if that is a terminal (or a notebook) and it takes more than a second.
    backend
        "llvm" (extra ``fast``): compiled loops in threads; "jax" (extra ``jax``): all members of one shape in one
        vectorised call, on JAX's default device, a GPU where it has one, in float64, to which JAX is switched for the
        whole process; "scipy": one member after the other; "auto": llvm where it is installed and the members are
        small, else scipy.
    times
        Times from 0 to ``t_final`` at which the loss of every member is kept too.
    weights
        Keep μ and ω at these times as well.

    Returns
    -------
    Dataset
        With dimensions member, task and head (0-based; members with fewer tasks or heads are filled up with NaN,
        ``allocation`` with −1): ``mu``, ``omega`` and ``loss`` (without ½) at ``t``, which is t_final unless the member
        failed; ``allocation``, the head that does at least 90 % of a task's work, else −1; ``shared``, whether two
        tasks have one head, or one group of tied heads; ``emergence``, the first time at which half of the drop to the
        limit of that allocation is done, NaN where there is none, as mostly for ``merged`` weights on several heads,
        which creep to an infimum that no allocation has; ``error_estimate``, relative, of loss, μ and ω at t (not of
        ``emergence``); ``status``, "reached_t_final", "unreliable" where the error estimate is above 1e-3 (of such a
        member nothing is derived, as of one that failed: allocation −1, shared false, emergence NaN), or why t_final
        was not reached; ``detail``, a sentence for a member that failed or is not reliable; ``reduction``, a sentence
        for one whose start has weights that are equal or opposite and stay so, integrated as one.  With ``times``,
        along the dimension time: ``loss_curve`` and ``curve_error``, as ``error_estimate`` at that time (NaN and
        infinite after the end of a member that failed), and with ``weights`` ``mu_curve`` and ``omega_curve``.

        Its coordinates are what each member was asked for: ``["dims"]`` and ``signal_power`` (0 and NaN for tasks that
        a member does not have), ``noise_variance``, ``context_length``, ``n_tasks``, ``n_heads``; ``start_mu``,
        ``start_omega`` and for ``split`` ``start_delta`` and ``start_gamma``, the imbalance; of random starts
        ``start_scale``, ``start_jitter`` and ``start_seed`` (NaN and −1 for explicit ones).  All members stay in the
        dataset; its attribute ``summary`` counts them by status.

    Raises
    ------
    InputTypeError, InputError
        For values of the wrong kind, an empty ensemble, or as many problems as there are not initial states.
    ReliabilityWarning
        A warning: members failed or are not reliable; how many.
    ValidityWarning
        A warning: members ended where the closure is less accurate than it claims.
    Interrupted
        On Ctrl-C, a `KeyboardInterrupt` whose ``partial`` is the dataset of the members that were done (``member`` says
        which), or None.

    Examples
    --------
    >>> problem = Problem(dims=[10, 10], signal_power=[1, 1], noise_variance=0.1, context_length=100, n_heads=2)
    >>> starts = [InitialState.random(problem, scale=0.03, seed=seed) for seed in range(3)]
    >>> found = ensemble(problem, starts, t_final=1e3)
    >>> found.allocation.values.tolist()
    [[0, 1], [0, 1], [1, 0]]
    >>> found.start_seed.where(~found.shared).values.tolist()
    [0.0, 1.0, 2.0]
    """
    members = _paired(_listed("problems", problems, Problem), _listed("initials", initials, InitialState))
    end, asked = checked_times(t_final, times)
    if weights and not asked:
        raise InputError("weights are kept at times, which must be given too")
    task = Task(
        checked_parametrisation(parametrisation),
        checked_closure(closure),
        end,
        checked_rtol(rtol),
        _checked_backend(backend, max(2 * problem.n_tasks * problem.n_heads for problem, _ in members)),
        tuple(sorted(set(asked))),
        bool(weights),
    )
    threads = _checked_workers(workers)
    outcomes: dict[int, Outcome] = {}
    try:
        _run(task, members, threads, progress, outcomes)
    except KeyboardInterrupt as interrupt:
        done = dict(sorted(outcomes.items()))
        reached = f"The ensemble was interrupted: {len(done)} of {len(members)} members are done."
        raise Interrupted(reached, partial=_dataset(task, members, done) if done else None) from interrupt
    _warn(task, list(outcomes.values()))
    return _dataset(task, members, dict(sorted(outcomes.items())))


def _checked_backend(backend: str, size: int) -> str:
    if not isinstance(backend, str):
        raise InputTypeError(f"backend must be a string, got {shown(backend)}")
    if backend not in ("auto", *BACKENDS):
        raise InputError(unknown("backend", backend, ("auto", *BACKENDS)))
    if backend == "auto":
        return "llvm" if compiler_installed() and size <= _LARGEST else "scipy"
    if backend == "llvm" and not compiler_installed():
        raise InputError("the backend llvm needs llvmlite: install headflow[fast], or use the backend auto")
    if backend == "jax" and find_spec("jax") is None:
        raise InputError("the backend jax needs JAX: install headflow[jax], or use the backend auto")
    return backend


def _listed(name: str, given: _T | Iterable[_T], kind: type[_T]) -> list[_T]:
    if isinstance(given, kind):
        return [given]
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise InputTypeError(f"{name} must be one {kind.__name__} or several, got {shown(given)}")
    found = list(given)
    for place, item in enumerate(found):
        if not isinstance(item, kind):
            raise InputTypeError(f"{name}[{place}] must be of the type {kind.__name__}, got {shown(item)}")
    if not found:
        raise InputError(f"{name} must not be empty")
    return found


def _paired(problems: list[Problem], initials: list[InitialState]) -> list[tuple[Problem, InitialState]]:
    count = max(len(problems), len(initials))
    if not {len(problems), len(initials)} <= {1, count}:
        raise InputError(
            f"there must be as many problems as initials, or one of either, got {len(problems)} and {len(initials)}"
        )
    filled = (problems * (count // len(problems)), initials * (count // len(initials)))
    return list(zip(*filled, strict=True))


def _checked_workers(workers: int | None) -> int:
    if workers is None:
        return usable_cores()
    return whole_number("workers", workers, least=1)


def _run(task: Task, members: Sequence[Member], workers: int, progress: bool, outcomes: dict[int, Outcome]) -> None:
    """Put what becomes of each member to its place among the outcomes, as soon as it is known."""
    share = min(_CHUNK, len(members) // (4 * workers))
    batch = partial(_batch, len(task.times))
    chunks = _chunks(members, batch if task.backend == "jax" else lambda *_: share)

    def outcomes_of(places: Sequence[int]) -> list[Outcome]:
        return task.outcomes([members[place] for place in places])

    def keep(places: Sequence[int], found: Sequence[Outcome]) -> None:
        outcomes.update(zip(places, found, strict=True))
        bar.update(len(places))

    with progress_bar(progress, "ensemble", len(members), unit="members") as bar:
        keep(chunks[0], outcomes_of(chunks[0]))  # compiles, once
        if task.backend != "llvm" or workers == 1:
            for places in chunks[1:]:
                keep(places, outcomes_of(places))
        else:
            pool = ThreadPoolExecutor(workers)
            chunk_of = {pool.submit(outcomes_of, places): places for places in chunks[1:]}
            try:
                for done in as_completed(chunk_of):
                    keep(chunk_of[done], done.result())
            except BaseException as error:  # compiled loops cannot be interrupted: Ctrl-C does not wait for them
                pool.shutdown(wait=not isinstance(error, KeyboardInterrupt), cancel_futures=True)
                for done, places in chunk_of.items():
                    if done.done() and not done.cancelled() and done.exception() is None:
                        outcomes.update(zip(places, done.result(), strict=True))
                raise
            pool.shutdown()


def _batch(n_times: int, n_tasks: int, n_heads: int) -> int:
    """How many members of a shape JAX steps together, whose states are kept at so many times."""
    size = 2 * n_tasks * n_heads
    return min(_BATCH, _NUMBERS // (size * max(size, n_times)))


def _chunks(members: Sequence[Member], most: Callable[[int, int], int]) -> list[list[int]]:
    """Places of members that are taken together: of equal shape (I, H), at most ``most(I, H)`` of them, or one."""
    shapes: dict[tuple[int, int], list[int]] = {}
    for place, (problem, _) in enumerate(members):
        shapes.setdefault((problem.n_tasks, problem.n_heads), []).append(place)
    sizes = {shape: max(1, most(*shape)) for shape in shapes}
    return [
        places[start : start + sizes[shape]]
        for shape, places in shapes.items()
        for start in range(0, len(places), sizes[shape])
    ]


def _warn(task: Task, outcomes: Sequence[Outcome]) -> None:
    counts = _counts(outcomes)
    if counts["not reliable"]:
        words = ", ".join(f"{count} {word}" for word, count in counts["by status"].items())
        warnings.warn(
            f"{counts['not reliable']} of {len(outcomes)} members are NOT RELIABLE or failed ({words}): "
            "they have no allocation and no emergence",
            ReliabilityWarning,
            stacklevel=3,
        )
    bound = largest_omega(flow(task.parametrisation, task.closure))
    beyond = sum(bool(np.abs(outcome.omega).max() >= bound) for outcome in outcomes)
    if beyond:
        warnings.warn(
            f"the {task.closure} closure has the accuracy that it claims only for |ω| < {bound:.4g}; "
            f"{beyond} of {len(outcomes)} members ended beyond",
            ValidityWarning,
            stacklevel=3,
        )


def _counts(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """How many members there are of each status, and how many are not to be relied on."""
    found = Counter(outcome.status for outcome in outcomes)
    reached = found[StopReason.REACHED_T_FINAL.value]
    return {"members": len(outcomes), "not reliable": len(outcomes) - reached, "by status": dict(sorted(found.items()))}


def _dataset(task: Task, members: Sequence[Member], by_place: Mapping[int, Outcome]) -> xarray.Dataset:
    """The dataset of the members whose outcomes there are, by their places."""
    import xarray

    outcomes, kept = list(by_place.values()), [members[place] for place in by_place]
    n_tasks = max(problem.n_tasks for problem, _ in kept)
    n_heads = max(problem.n_heads for problem, _ in kept)
    time = {"units": "learning rate × steps"}
    scalar, per_task, per_weight = ("member",), ("member", "task"), ("member", "task", "head")

    def each(name: str) -> list[Any]:
        return [getattr(outcome, name) for outcome in outcomes]

    def by_weight(arrays: Iterable[FloatArray]) -> FloatArray:
        return _filled(arrays, (n_tasks, n_heads), np.nan)

    variables: dict[str, Any] = {
        "mu": (per_weight, by_weight(each("mu")), {"long_name": "output-value eigenvalue"}),
        "omega": (per_weight, by_weight(each("omega")), {"long_name": "key-query eigenvalue"}),
        "loss": (scalar, each("loss"), {"long_name": "population loss (no ½)"}),
        "allocation": (
            *(per_task, _filled(map(np.array, each("heads")), (n_tasks,), -1)),
            {"long_name": "head of the task, from 0; −1: none"},
        ),
        "shared": (scalar, each("shared"), {"long_name": "whether two tasks have one head"}),
        "t": (scalar, each("t"), {"long_name": "time of mu, omega and loss", **time}),
        "emergence": (scalar, each("emergence"), {"long_name": "time of half the drop to the limit", **time}),
        "error_estimate": (scalar, each("error"), {"long_name": "estimated relative error of loss, mu and omega"}),
        "status": (scalar, each("status"), {"long_name": "how it ended"}),
        "detail": (scalar, each("detail"), {"long_name": "what went wrong"}),
        "reduction": (scalar, each("reduction"), {"long_name": "which weights stay equal or opposite"}),
    }
    coordinates: dict[str, Any] = {
        "member": ("member", list(by_place), {"long_name": "member, from 0"}),
        "task": ("task", np.arange(n_tasks), {"long_name": "task, from 0"}),
        "head": ("head", np.arange(n_heads), {"long_name": "head, from 0"}),
        **_asked(task, kept, n_tasks, by_weight),
    }
    if task.times:
        curves: list[Curves] = each("curves")
        along = ("member", "time")
        coordinates["time"] = ("time", list(task.times), {"long_name": "time of the curves", **time})
        variables["loss_curve"] = (along, [one.loss for one in curves], variables["loss"][2])
        variables["curve_error"] = (along, [one.error for one in curves], variables["error_estimate"][2])
        for part, name in enumerate(("mu", "omega") if task.weights else ()):
            states = [one.weights[part] for one in curves if one.weights is not None]
            whole = _filled(states, (len(task.times), n_tasks, n_heads), np.nan)
            variables[f"{name}_curve"] = ((*along, "task", "head"), whole, variables[name][2])
    attributes = {"provenance": json.dumps(_provenance(task)), "summary": json.dumps(_counts(outcomes))}
    return xarray.Dataset(variables, coordinates, attributes)


def _asked(
    task: Task, members: Sequence[Member], n_tasks: int, by_weight: Callable[[Iterable[FloatArray]], FloatArray]
) -> dict[str, Any]:
    """The problem and the start of each member, as coordinates."""
    problems, starts = [problem for problem, _ in members], [start for _, start in members]
    draws = [start.provenance if isinstance(start.provenance, RandomStart) else None for start in starts]
    scalar, per_task, per_weight = ("member",), ("member", "task"), ("member", "task", "head")

    def of_problem(name: str, kind: type) -> NDArray[Any]:
        return np.array([getattr(problem, name) for problem in problems], kind)

    def of_tasks(name: str, empty: float) -> NDArray[Any]:
        return _filled((np.array(getattr(problem, name), type(empty)) for problem in problems), (n_tasks,), empty)

    def of_draw(name: str, empty: float) -> list[float]:
        return [empty if draw is None else getattr(draw, name) for draw in draws]

    arrays = {"mu": [start.mu for start in starts], "omega": [start.omega for start in starts]}
    if task.parametrisation == "split":
        arrays |= {name: [start.imbalance[part] for start in starts] for part, name in enumerate(("delta", "gamma"))}
    return {
        "dims": (per_task, of_tasks("dims", 0), {"long_name": "d_i"}),
        "signal_power": (per_task, of_tasks("signal_power", math.nan), {"long_name": "λ_i"}),
        "noise_variance": (scalar, of_problem("noise_variance", float), {"long_name": "σ²"}),
        "context_length": (scalar, of_problem("context_length", int), {"long_name": "L"}),
        "n_tasks": (scalar, of_problem("n_tasks", int), {"long_name": "I"}),
        "n_heads": (scalar, of_problem("n_heads", int), {"long_name": "H"}),
        **{f"start_{name}": (per_weight, by_weight(each)) for name, each in arrays.items()},
        "start_scale": (scalar, of_draw("scale", math.nan)),
        "start_jitter": (scalar, of_draw("jitter", math.nan)),
        "start_seed": (scalar, of_draw("seed", -1)),
    }


def _filled(arrays: Iterable[NDArray[Any]], shape: tuple[int, ...], empty: float) -> NDArray[Any]:
    """Arrays of several shapes in one, each at the beginning of its row, the rest empty."""
    parts = list(arrays)
    whole = np.full((len(parts), *shape), empty)
    for row, part in zip(whole, parts, strict=True):
        row[tuple(map(slice, part.shape))] = part
    return whole


def _provenance(task: Task) -> dict[str, Any]:
    return {
        "kind": "headflow ensemble",
        "schema": 1,
        "version": __version__,
        "parametrisation": task.parametrisation,
        "closure": task.closure,
        "t_final": task.t_final,
        "rtol": task.rtol,
        "method": "auto" if task.backend == "scipy" else COMPILED,
        "backend": task.backend,
    }
