"""What a derivation rests on: which steps a computation checked and how far, and which rest on words."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

# What a step rests on; any other scope names, in words, the instances that its check is made at.
GENERAL, FORMAL, DEFINITION, ARGUED = "general", "formal", "definition", "argued"

# proved: every step is checked by computation in general; derived: some as formal expansions without an error bound;
# checked: some at instances only; argued: some rest on words, or on a theorem whose use is not computed.
Standing = Literal["proved", "derived", "checked", "argued"]


class Grounded(Protocol):
    """A step, as far as what it rests on."""

    @property
    def label(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def theorem(self) -> str: ...


@dataclass(frozen=True)
class Grounds:
    """The labels of a derivation's steps by what each rests on.

    Attributes
    ----------
    definitions
        Steps that say what something is: they claim nothing.
    general
        Steps that a computation checks for every size and value.
    formal
        The same as formal expansions: what is left out is not bounded.
    instances
        Steps that a computation checks at the sizes or values in words beside them.
    cited
        Steps that apply a named theorem and are not computed.
    argued
        Steps that rest on their justification in words.
    theorems
        The theorems that are used, by name.
    given
        Steps that lead to what is assumed, whatever they rest on themselves.
    """

    definitions: tuple[str, ...] = ()
    general: tuple[str, ...] = ()
    formal: tuple[str, ...] = ()
    instances: tuple[tuple[str, str], ...] = ()
    cited: tuple[str, ...] = ()
    argued: tuple[str, ...] = ()
    theorems: tuple[str, ...] = ()
    given: tuple[str, ...] = ()

    @property
    def standing(self) -> Standing:
        """What the weakest of the steps makes of the result."""
        if self.argued or self.cited:
            return "argued"
        return "checked" if self.instances else "derived" if self.formal else "proved"

    @property
    def standing_words(self) -> str:
        """The same in one phrase, with the steps that are weaker than a proof: "argued: slow flow"."""
        words = [f"{label} ({scope})" for label, scope in self.instances]
        parts = [f"argued: {', '.join(self.argued)}"] if self.argued else []
        parts += [f"argued by a theorem: {', '.join(self.cited)}"] if self.cited else []
        parts += [f"checked at instances: {', '.join(words)}"] if words else []
        parts += [f"derived by formal expansions: {', '.join(self.formal)}"] if self.formal else []
        proved = "proved" + f" with {', '.join(self.theorems)}" * bool(self.theorems)
        return ("; ".join(parts) or proved) + ", from the closure of the loss" * bool(self.given)

    @property
    def checked(self) -> str:
        """What a computation checked, in one phrase, such as "14 of 17 steps checked by computation in general"."""
        claims = [self.general, self.formal, self.instances, self.cited, self.argued]
        parts = [f"{len(self.general)} in general"] if self.general else []
        parts += [f"{len(self.formal)} as formal expansions"] if self.formal else []
        parts += [f"1 at {scope} ({label})" for label, scope in self.instances]
        found = len(self.general) + len(self.formal) + len(self.instances)
        if len(parts) == 1:
            parts = [parts[0].split(" ", 1)[1]]
        beyond = " beyond the closure of the loss" if self.given else ""
        of_all = f"{found} of {sum(map(len, claims))} steps{beyond} checked by computation"
        return (
            f"{of_all} {', '.join(parts)}" if len(parts) == 1 else f"{of_all}: {', '.join(parts)}" if parts else of_all
        )

    @property
    def words(self) -> str:
        """What rests on words or on theorems of the literature, in one phrase; empty where nothing does."""
        parts = [f"{len(self.argued)} argued: {', '.join(self.argued)}"] if self.argued else []
        parts += [f"with {', '.join(self.theorems)}"] if self.theorems else []
        return "; ".join(parts)

    def __str__(self) -> str:
        return f"{self.checked}; {self.words}" if self.words else self.checked


def grounds_of(steps: Iterable[Grounded], given: Collection[str] = ()) -> Grounds:
    """What these steps rest on; those with labels in ``given`` lead to what is assumed."""
    labels: dict[str, list[str]] = {name: [] for name in (DEFINITION, GENERAL, FORMAL, ARGUED, "cited")}
    assumed, instances = [], []
    theorems: dict[str, None] = {}
    for step in steps:
        if step.label in given:
            assumed.append(step.label)
            continue
        if step.theorem:
            theorems[step.theorem] = None
        if step.scope == ARGUED and step.theorem:
            labels["cited"].append(step.label)
        elif step.scope in labels:
            labels[step.scope].append(step.label)
        else:
            instances.append((step.label, step.scope))
    return Grounds(
        tuple(labels[DEFINITION]),
        tuple(labels[GENERAL]),
        tuple(labels[FORMAL]),
        tuple(instances),
        tuple(labels["cited"]),
        tuple(labels[ARGUED]),
        tuple(theorems),
        tuple(assumed),
    )
