"""The names in generated code: valid Python, each used once."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from keyword import iskeyword

from .graph import Node, Places
from .numpy_table import NUMPY

# The arguments and the memory of a run stage that no symbol may be called.
GIVEN, STATE, RESULT = "given", "state", "result"
RESERVED = frozenset({*NUMPY, GIVEN, STATE, RESULT})


@dataclass(frozen=True)
class View:
    """A name for a view of an array, made at bind time."""

    name: str
    of: str
    places: Places


def identifier(name: str) -> str:
    """A Python identifier for a name (``lambda`` becomes ``lambda_``)."""
    plain = unicodedata.normalize("NFKC", name)
    cleaned = "".join(letter if f"a{letter}".isidentifier() else "_" for letter in plain).strip("_")
    if not cleaned.isidentifier():
        return f"v{cleaned}"
    return f"{cleaned}_" if iskeyword(cleaned) else cleaned


def unique(name: str, taken: Collection[str]) -> str:
    """An identifier for ``name`` that is neither reserved nor taken."""
    candidate = identifier(name)
    while candidate in RESERVED or candidate in taken:
        candidate += "_"
    return candidate


def unique_names(names: Iterable[str]) -> list[str]:
    """An identifier for each name, all different."""
    chosen: list[str] = []
    for name in names:
        chosen.append(unique(name, chosen))
    return chosen


class Names:
    """Gives every node one readable name, and every view of it another."""

    def __init__(self, known: Mapping[int, str], taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._known: dict[int, str] = {}
        self._views: dict[tuple[str, Places], View] = {}
        for number, name in known.items():
            self._known[number] = self._new(name)

    def _new(self, preferred: str) -> str:
        name = unique(preferred, self._taken)
        self._taken.add(name)
        return name

    def node(self, node: Node) -> str:
        """The name of a node's array."""
        if node.number not in self._known:
            letter = "p" if node.stage == "bind" else "t"
            self._known[node.number] = self._new(node.detail if node.operation == "leaf" else f"{letter}{node.number}")
        return self._known[node.number]

    def view(self, name: str, places: Places, whole: Places) -> str:
        """The name of a view; the array's own name when the view is the array."""
        if places == whole or not whole:
            return name
        key = (name, places)
        if key not in self._views:
            self._views[key] = View(self._new(f"{name}_{_view_word(places)}"), name, places)
        return self._views[key].name

    @property
    def views(self) -> tuple[View, ...]:
        """The views named so far."""
        return tuple(self._views.values())


def _view_word(places: Places) -> str:
    words: dict[Places, str] = {((1,), (0,)): "T", ((0,), ()): "column", ((), (0,)): "row"}
    return words.get(places) or "v" + "_".join("".join(map(str, place)) or "n" for place in places)
