"""Owns a trajectory's forms outside Python objects: labelled dataset, JSON, NetCDF 3 file, summary."""

from __future__ import annotations

import html
import io
import json
import math
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import xarray

from ..._version import __version__
from ...theory.errors import InputError
from ..flows.allocation import named
from ..problem.initial import InitialState, RandomStart
from ..problem.problem import Problem
from ..runtime.read_file import read_bytes
from ..runtime.scratch import write_whole
from ..runtime.seal import BLANK, check_seal, sealed
from ..runtime.stop import StopReason

if TYPE_CHECKING:
    from .trajectory import Trajectory

_KIND: Final = "headflow trajectory"
_SCHEMA: Final = 1  # of JSON
_FILE_SCHEMA: Final = 2  # of files: since they have digests
_BEGIN: Final = b"CDF\x02"  # of every file of this format
_FACTORS: Final = {
    "o": "output factor: mu = o v",
    "v": "value factor: mu = o v",
    "k": "key factor: omega = k q/sqrt(d_e)",
    "q": "query factor: omega = k q/sqrt(d_e)",
}


def dataset(trajectory: Trajectory) -> xarray.Dataset:
    """`Trajectory.data`."""
    unit = {"units": "learning rate × steps"}
    per_weight = ("t", "task", "head")
    relative = "estimated relative error of "
    factors = dict(zip(_FACTORS, trajectory.factors, strict=True)) if trajectory.parametrisation == "split" else {}
    return xarray.Dataset(
        {
            "mu": (per_weight, trajectory.mu, {"long_name": "output-value eigenvalue"}),
            "omega": (per_weight, trajectory.omega, {"long_name": "key-query eigenvalue"}),
            **{name: (per_weight, factors[name], {"long_name": title}) for name, title in _FACTORS.items() if factors},
            "loss": (("t",), trajectory.loss, {"long_name": "population loss (no ½)"}),
            "error": (("t",), trajectory.error, {"long_name": relative + "loss, mu and omega"}),
            "loss_error": (("t",), trajectory.loss_error, {"long_name": relative + "the loss"}),
        },
        coords={
            "t": ("t", trajectory.t, {"long_name": "time", **unit}),
            "task": ("task", np.arange(trajectory.problem.n_tasks), {"long_name": "task, from 0"}),
            "head": ("head", np.arange(trajectory.problem.n_heads), {"long_name": "head, from 0"}),
        },
        attrs={"provenance": json.dumps(provenance(trajectory), allow_nan=False)},
    )


def provenance(trajectory: Trajectory) -> dict[str, Any]:
    """Everything that made the trajectory: numbers, defaults, seed, solver, versions."""
    import scipy
    import sympy

    start = trajectory.initial
    return {
        "kind": _KIND,
        "schema": _FILE_SCHEMA,
        "version": __version__,
        "problem": trajectory.problem.to_dict(),
        "closure": trajectory.closure,
        "parametrisation": trajectory.parametrisation,
        "initial": {
            "mu": start.mu.tolist(),
            "omega": start.omega.tolist(),
            "imbalance": start.imbalance.tolist(),
            "draw": asdict(start.provenance) if isinstance(start.provenance, RandomStart) else None,
        },
        "t_final": trajectory.t_final,
        "times": list(trajectory.times),
        "rtol": trajectory.rtol,
        "method": trajectory.method,
        "method_reason": trajectory.method_reason,
        "status": trajectory.stop.value,
        "status_detail": trajectory.stop_detail,
        "stats": trajectory.stats_json(),
        "t_unit": trajectory.t_unit,
        "reduced": trajectory.reduced,
        "interpolation_error": trajectory.interpolation_error,
        "versions": {
            "python": python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "sympy": sympy.__version__,
        },
    }


def as_json(trajectory: Trajectory) -> dict[str, Any]:
    """`Trajectory.to_json`."""
    final = trajectory.final
    reasons: dict[str, str] = {}
    if not math.isfinite(trajectory.error_estimate):
        reasons["error_estimate"] = "the second integration that it is taken from was not finished"
    if trajectory.doubt is not None:
        reasons |= dict.fromkeys(("allocation", "shared", "events"), trajectory.doubt)
    for task in trajectory.final.allocation.undecided:
        share, team = trajectory.allocation.shares[task], trajectory.allocation.tied[task]
        why = f"; {named('head', team)} are tied and have it together" if team else ""
        reasons[f"allocation[{task}]"] = f"the largest share of one head in the task's output is {share:.3g} < 0.9{why}"
    result: dict[str, Any] = {
        "schema": _SCHEMA,
        "version": __version__,
        "problem": trajectory.problem.to_dict(),
        "closure": trajectory.closure,
        "parametrisation": trajectory.parametrisation,
        **({} if trajectory.altered is None else {"altered": trajectory.altered.in_brief}),
        "initial": trajectory.initial.to_dict(),
        "t_final": trajectory.t_final,
        "rtol": trajectory.rtol,
        "method": trajectory.method,
        "method_reason": trajectory.method_reason,
        "reduction": trajectory.reduction,
        "status": trajectory.stop.value,
        "status_detail": trajectory.stop_detail,
        "reliable": trajectory.reliable,
        **final.to_json(),
        "allocation": trajectory.allocation.to_json(),
        "shared": trajectory.allocation.shared if trajectory.reliable else None,
        "phases": trajectory.phases.to_json(),
        "events": [event.to_json() for event in trajectory.events] if trajectory.reliable else None,
        "error_estimate": None if reasons.get("error_estimate") else trajectory.error_estimate,
        "stats": trajectory.stats_json(),
        "warnings": list(trajectory.caveats),
        "reasons": reasons,
    }
    if trajectory.times:
        result["states"] = [state.to_json() for state in trajectory.states]
    return result


def save(trajectory: Trajectory, path: str | PathLike[str], force: bool) -> None:
    """`Trajectory.save`."""
    target = Path(path)
    if trajectory.altered is not None:
        raise InputError("a file keeps no formulas: keep a flow that was changed by pickle, or its rows by .data")
    if target.is_dir():
        raise InputError(f"{target} is a directory, not a file to write")
    if target.exists() and not force:
        raise InputError(f"{target} exists; it is overwritten only with force (--force)")
    stored = dataset(trajectory).assign_attrs(digest=BLANK)
    stored = stored.assign(
        state=(("t", "variable"), trajectory.states_flat, {"long_name": "what the solver integrates"}),
        is_node=(("t",), trajectory.is_node, {"long_name": "1 for a point of an interpolation panel"}),
        edges=(("edge",), trajectory.edges, {"long_name": "ends of the panels in log(1 + t/t_unit)"}),
    )
    if len(trajectory.loss_panels):
        how = "ends of an interval of log time, and the loss at its Chebyshev points"
        stored = stored.assign(loss_panels=(("loss_panel", "number"), trajectory.loss_panels, {"long_name": how}))
    content = sealed(bytes(stored.to_netcdf(format="NETCDF3_64BIT", engine="scipy")))
    try:
        write_whole(target, content)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from error


def load(path: str | PathLike[str]) -> Trajectory:
    """`Trajectory.load`."""
    from .trajectory import Stats, Trajectory

    source = Path(path)
    content = read_bytes(source, begins=_BEGIN)
    check_seal(content, source, "trajectory of headflow")
    try:
        with xarray.open_dataset(io.BytesIO(content), engine="scipy") as opened:
            stored = opened.load()
        made = json.loads(stored.attrs["provenance"])
        if made["kind"] != _KIND or made["schema"] != _FILE_SCHEMA:
            raise KeyError("kind")
        start = made["initial"]
        draw: RandomStart | Literal["explicit"] = "explicit" if start["draw"] is None else RandomStart(**start["draw"])
        return Trajectory(
            problem=Problem(**made["problem"]),
            initial=InitialState(start["mu"], start["omega"], start["imbalance"], provenance=draw),
            parametrisation=made["parametrisation"],
            closure=made["closure"],
            t_final=made["t_final"],
            times=tuple(made["times"]),
            rtol=made["rtol"],
            method=made["method"],
            method_reason=made["method_reason"],
            stop=StopReason.named(made["status"]),
            stop_detail=made["status_detail"],
            stats=Stats(**made["stats"]),
            t_unit=made["t_unit"],
            reduced=made.get("reduced", False),
            interpolation_error=made["interpolation_error"],
            states_flat=_floats(stored, "state"),
            **{name: _floats(stored, name) for name in ("t", "loss", "error", "loss_error", "is_node", "edges")},
            **({"loss_panels": _floats(stored, "loss_panels")} if "loss_panels" in stored else {}),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{source} holds no trajectory of headflow") from error


def _floats(stored: xarray.Dataset, name: str) -> Any:
    return np.array(stored[name].values, dtype=np.float64)


def summary(trajectory: Trajectory) -> list[tuple[str, str]]:
    """(name, value) pairs in words, as HTML text, heads and tasks from 1."""
    stats = trajectory.stats
    altered = "" if trajectory.altered is None else f", {trajectory.altered.in_brief}"
    derived: list[tuple[str, str]] = []
    if trajectory.reliable:
        derived = [("allocation", str(trajectory.allocation))]
        derived += [
            (name, words) for name, _, words in (one.partition(": ") for one in str(trajectory.phases).split("\n"))
        ]
    pairs = [
        *(("warning", caveat) for caveat in trajectory.caveats),
        ("flow", f"{trajectory.parametrisation}, closure {trajectory.closure}{altered}"),
        ("problem", repr(trajectory.problem)),
        ("ended", f"{trajectory.stop.sentence} {trajectory.stop_detail}".strip()),
        ("time", f"{trajectory.t[-1]:.6g} (learning rate × steps)"),
        ("loss", f"{trajectory.loss[0]:.6g} → {trajectory.loss[-1]:.10g}"),
        ("error estimate", f"{trajectory.error_estimate:.1e} (relative)"),
        *([("symmetry", trajectory.reduction)] if trajectory.reduction else []),
        *derived,
        ("method", f"{trajectory.method} ({trajectory.method_reason})"),
        ("cost", f"{stats.evaluations} evaluations, {stats.jacobians} Jacobians, {stats.seconds:.2g} s"),
    ]
    return [(html.escape(name), html.escape(value)) for name, value in pairs]
