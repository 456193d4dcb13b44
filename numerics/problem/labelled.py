"""Arrays with labels (xarray's and pandas' own): read by their labels, or refused, never by position alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...theory.errors import InputError


def by_labels(name: str, values: Any, axes: Sequence[str]) -> Any:
    """An array with labels as one without, its axes in this order and along each the labels 0, 1, 2, …

    What has no labels comes back as it is.  Rows of a table of pandas are the first axis, its columns the second.

    Raises
    ------
    InputError
        For axes of other names, and for labels that are not the whole numbers from 0 on.
    """
    if _is_xarray(values):
        if sorted(map(str, values.dims)) != sorted(axes):
            raise InputError(f"{name} must have the axes {_listed(axes)}, got {_listed(values.dims) or 'none'}")
        for axis in axes:
            if axis in values.coords:
                values = values.isel({axis: _order(name, axis, values.coords[axis].values.tolist())})
        return values.transpose(*axes).values
    if _is_pandas(values):
        if values.ndim != len(axes):
            raise InputError(f"{name} must have the axes {_listed(axes)}, got a table of {values.ndim}")
        labels = (values.index, values.columns)[: values.ndim] if values.ndim > 1 else (values.index,)
        orders = [_order(name, axis, own.tolist()) for axis, own in zip(axes, labels, strict=True)]
        return values.iloc[tuple(orders) if len(orders) > 1 else orders[0]].to_numpy()
    return values


def without_labels(name: str, values: Any) -> Any:
    """What has no labels, as it is; ``InputError`` for an array with labels, where no axis has a name to read it by."""
    if getattr(values, "ndim", 0) and (_is_xarray(values) or _is_pandas(values)):
        raise InputError(f"{name} must be an array without labels, whose axes are read by position: give its values")
    return values


def _is_xarray(values: Any) -> bool:
    return all(hasattr(values, part) for part in ("dims", "coords", "isel"))


def _is_pandas(values: Any) -> bool:
    return all(hasattr(values, part) for part in ("iloc", "index", "to_numpy"))


def _order(name: str, axis: str, labels: list[Any]) -> list[int]:
    """At which place each of the labels 0, 1, 2, … stands."""
    if sorted(labels, key=str) != sorted(range(len(labels)), key=str):
        found = ", ".join(map(str, labels[:6])) + (", …" if len(labels) > 6 else "")
        raise InputError(f"the labels of {name} along {axis} must be 0 to {len(labels) - 1}, got {found}")
    return [labels.index(place) for place in range(len(labels))]


def _listed(axes: Any) -> str:
    return ", ".join(map(str, axes))
