"""The result of an integration: its rows, and what is read off them: phases, events, tables and files."""

from __future__ import annotations

from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

from .phases import QUANTITIES, Phases, phases_of
from .record import Record

if TYPE_CHECKING:
    import pandas
    import xarray

    from .events import Event
    from .real_risk import RealRisk


class Trajectory(Record):
    """A gradient flow from its initial state to where it stopped; made by `headflow.integrate`.

    Time t = learning rate × steps; the loss has no ½ and a noise-free query target.  Its attributes are those of
    `headflow.numerics.trajectory.record.Record`: the problem and the start, the rows (``t``, ``mu``, ``omega``,
    ``loss``), their errors, and why it ended.
    """

    @cached_property
    def phases(self) -> Phases:
        """When training passed its stations; none where the trajectory is not reliable."""
        if self.doubt is not None:
            return Phases(reasons=dict.fromkeys(QUANTITIES, self.doubt))
        return phases_of(self)

    @cached_property
    def real_risk(self) -> RealRisk:
        """What the real softmax attention loses with the last weights, sampled in about a second."""
        from .real_risk import real_risk

        return real_risk(self)

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """What happened when, in order of time (`headflow.numerics.trajectory.events.Event`); () if not reliable."""
        if self.doubt is not None:
            return ()
        from .events import events_of

        return events_of(self, self.phases)

    @cached_property
    def data(self) -> xarray.Dataset:
        """The rows, labelled from 0: mu, omega, for ``split`` o, v, k, q (t, task, head); loss and errors (t)."""
        from .file import dataset

        return dataset(self)

    def to_dataframe(self) -> pandas.DataFrame:
        """One row per time, task and head (0-based): mu, omega, and the loss and errors of that time."""
        return self.data.to_dataframe()

    def to_json(self) -> dict[str, Any]:
        """What ``headflow integrate --json`` prints; a number that does not exist is None, with a reason."""
        from .shown import as_json

        return as_json(self, self.phases, self.events)

    def save(self, path: str | PathLike[str], force: bool = False) -> None:
        """Write a NetCDF 3 file that `load` reads and that other programs can read too.

        Raises
        ------
        InputError
            If the file exists and ``force`` is not set, or cannot be written; nothing is left half-written.
        """
        from .file import save

        save(self, path, force=force)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Trajectory:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If there is no such file, it holds no trajectory of this package, or anything in it was changed: its digest
            is over every byte.  Files without a digest, which early versions wrote, are refused.
        """
        from .file import load

        return cls(**load(path))

    def _repr_html_(self) -> str:
        from .shown import summary

        cells = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in summary(self, self.phases))
        return f"<table>{cells}</table>"
