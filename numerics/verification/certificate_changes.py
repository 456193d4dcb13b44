"""What differs between a certificate and the same question asked again: every entry that was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isinf
from typing import Any

# Relative difference of numbers that were computed twice from the same ones.
SAME = 1e-9
# What is written down twice without being compared as it stands: the digest, and what is compared entry by entry.
_APART = ("seal", "environment", "version", "verdicts", "explorations", "claims")
MISSING = "missing"
# What the entries of these lists are called by, and the names of numbers by the name of their error.
_NAMES = {"findings": "evidence", "fits": "quantity", "certified": "claim"}
_ERRORS = {
    "error": ("measured", "margin"),
    "exponent_error": ("exponent",),
    "constant_error": ("constant",),
}


@dataclass(frozen=True)
class Change:
    """One thing that differs: ``where`` (a statement's id, "environment", …), ``what``, and both values."""

    where: str
    what: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} was {self.before}, is {self.after}"


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """What of a certificate is not found again; both as JSON objects.

    Ends of enclosures, and how many cells they took, are compared as they stand where the environment is the same.
    """
    old, new = ({name: value for name, value in content.items() if name not in _APART} for content in (before, after))
    yield from _Comparison("certificate").of(old, new)
    exact = before["environment"] == after["environment"]
    gone = [claim for claim in before["claims"] if claim not in after["claims"]]
    yield from (Change("registry", "a statement", claim, "gone") for claim in gone)
    written = [row.get("id") for row in before["verdicts"]]
    found = {row["id"]: row for row in after["verdicts"]}
    for id, row in found.items():
        if id not in written:
            yield Change(id, "the verdict", MISSING, row["verdict"])
    for place, row in enumerate(before["verdicts"]):
        id = written[place]
        if id in gone:
            continue
        if id not in found or id in written[:place]:
            yield Change("certificate", "a verdict that was not asked for", str(id), MISSING)
            continue
        yield from _Comparison(id, exact).of(row, found[id])
    yield from _explorations(before.get("explorations", []), after["explorations"])
    asked = [claim for claim in before["claims"] if claim not in gone]
    if [id for id in written if id in asked] != [id for id in asked if id in written]:
        yield Change("certificate", "the order of the verdicts", ", ".join(map(str, written)), ", ".join(asked))


def _explorations(before: Sequence[Any], after: Sequence[Mapping[str, Any]]) -> Iterator[Change]:
    def key(row: Any) -> tuple[str, ...]:
        names = ("statement", "hypothesis", "fate")
        return tuple(str(row.get(name)) for name in names) if isinstance(row, dict) else (str(row),)

    new = {key(row): row for row in after}
    seen = []
    for row in before:
        told = key(row)
        if told not in new or told in seen:
            yield Change(told[0], "an exploration", " ".join(told[1:]), MISSING)
        else:
            yield from _Comparison(told[0], of_what=f" ({told[2]} without “{told[1]}”)").of(row, new[told])
        seen.append(told)
    for told in new:
        if told not in seen:
            yield Change(told[0], f"what becomes of it without “{told[1]}”", MISSING, told[2])


@dataclass(frozen=True)
class _Comparison:
    """Entries of two JSON values, one after the other; ``path`` leads to them, and ``of_what`` it is the path."""

    where: str
    exact: bool = True
    path: str = ""
    of_what: str = ""

    def of(self, old: Any, new: Any, error: float | None = None) -> Iterator[Change]:
        """The differences; ``error`` is what a number may be off by (None: a little of its size)."""
        if isinstance(old, dict) and isinstance(new, dict):
            yield from self._objects(old, new, error)
        elif isinstance(old, list) and isinstance(new, list):
            if len(old) != len(new):
                yield self._change(f"number of {self.path}", len(old), len(new))
            for place, (one, other) in enumerate(zip(old, new, strict=False), start=1):
                yield from self._entry(place, other).of(one, other, error)
        elif not _same(old, new, error):
            yield self._change(self.path, old, new)

    def _objects(self, old: Mapping[str, Any], new: Mapping[str, Any], error: float | None) -> Iterator[Change]:
        allowed = _allowed(new, error)
        certified = "cells" in new
        for name in dict.fromkeys([*new, *old]):
            if name not in old or name not in new:
                yield self._change(f"{self.path} {name}".strip(), old.get(name, MISSING), new.get(name, MISSING))
            elif not certified or name not in ("lower", "upper", "cells", "arithmetic"):
                yield from self._under(name).of(old[name], new[name], allowed.get(name))
            elif name in ("cells", "arithmetic") and self.exact:
                yield from self._under(name).of(old[name], new[name])
        if certified and {"lower", "upper"} <= set(old) and not _same_ends(old, new, self.exact):
            yield self._change("the enclosure", _range(old), _range(new))

    def _under(self, name: str) -> _Comparison:
        return replace(self, path=f"{self.path} {name}".strip())

    def _entry(self, place: int, entry: Any) -> _Comparison:
        """An entry of a list; findings, fits and claims are called by their names."""
        name = _NAMES.get(self.path)
        if name is None or not isinstance(entry, dict):
            return self._under(str(place))
        of_what = f" ({entry[name]})" if self.path == "findings" else f" of {entry[name]}"
        return replace(self, path="", of_what=of_what)

    def _change(self, what: str, old: Any, new: Any) -> Change:
        return Change(self.where, what + self.of_what, str(old), str(new))


def _allowed(new: Mapping[str, Any], error: float | None) -> dict[str, float | None]:
    """What the numbers of an object may be off by: measured ones by the error that is found now, errors by half."""
    found: dict[str, float | None] = {}
    for error_of, names in _ERRORS.items():
        if isinstance(size := new.get(error_of), int | float):
            found |= dict.fromkeys(names, max(size, SAME * abs(new.get(names[0]) or 0)))
            found[error_of] = size / 2
    if "inside" in new:  # an exploration: the error of both sides
        found |= {"inside": new["error"], "outside": new["error"], "error": None}
    return found if error is None else {**found, "measured": error}


def _same(old: Any, new: Any, error: float | None) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (old, new))
    if not numbers:
        return type(old) is type(new) and bool(old == new)
    return bool(abs(old - new) <= (SAME * abs(new) if error is None else error))


def _same_ends(old: Mapping[str, Any], new: Mapping[str, Any], exact: bool) -> bool:
    """The same ends; of another arithmetic, ends that are not apart, and not ten times as wide."""
    if exact:
        return all(old[name] == new[name] for name in ("lower", "upper"))
    try:
        (low, high), (new_low, new_high) = _ends(old), _ends(new)
    except (TypeError, ValueError):
        return False
    if (isinf(low), isinf(high)) != (isinf(new_low), isinf(new_high)):
        return False
    width = 10 * (new_high - new_low) + SAME * max(abs(new_low), abs(new_high))
    return low <= new_high and new_low <= high and (isinf(width) or high - low <= width)


def _ends(claim: Mapping[str, Any]) -> tuple[float, float]:
    lower, upper = claim["lower"], claim["upper"]
    return -inf if lower is None else float.fromhex(lower), inf if upper is None else float.fromhex(upper)


def _range(claim: Mapping[str, Any]) -> str:
    try:
        ends = ("open" if isinf(end) else repr(end) for end in _ends(claim))
        return f"[{', '.join(ends)}]"
    except (TypeError, ValueError):
        return f"[{claim['lower']}, {claim['upper']}]"
