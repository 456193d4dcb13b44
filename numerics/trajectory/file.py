"""A trajectory's forms outside Python objects: a labelled dataset, a NetCDF 3 file."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from platform import python_version
from typing import Any, Final, Literal

import numpy as np
import xarray

from ..._version import __version__
from ...theory.errors import InputError
from ..problem.initial import InitialState, RandomStart
from ..problem.problem import Problem
from ..runtime.read_file import read_bytes
from ..runtime.scratch import write_whole
from ..runtime.seal import BLANK, check_seal, sealed
from ..runtime.stop import StopReason
from .record import Record, Stats

_KIND: Final = "headflow trajectory"
_FILE_SCHEMA: Final = 2  # of files: since they have digests
_BEGIN: Final = b"CDF\x02"  # of every file of this format
_FACTORS: Final = {
    "o": "output factor: mu = o v",
    "v": "value factor: mu = o v",
    "k": "key factor: omega = k q/sqrt(d_e)",
    "q": "query factor: omega = k q/sqrt(d_e)",
}


def dataset(trajectory: Record) -> xarray.Dataset:
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


def provenance(trajectory: Record) -> dict[str, Any]:
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


def save(trajectory: Record, path: str | PathLike[str], force: bool) -> None:
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


def load(path: str | PathLike[str]) -> dict[str, Any]:
    """The fields of the trajectory that `Trajectory.load` makes of a file."""
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
        return dict(
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
