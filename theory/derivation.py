"""Derivations: ordered, justified, where possible checked steps, recorded while the code computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from inspect import signature
from typing import Any, TypeAlias, TypeVar

from sympy import Basic, sympify
from sympy.core.relational import Relational
from sympy.logic.boolalg import BooleanAtom, BooleanFunction

from .grounds import ARGUED, DEFINITION, GENERAL, Grounds, grounds_of
from .printing import aligned_html, aligned_latex, aligned_text, html_prose, latex_prose, sum_legend
from .printing.aligned import Equation
from .result import Result

Formula: TypeAlias = Equation | tuple[Equation, ...]
F = TypeVar("F", bound=Any)


@dataclass(frozen=True, init=False, repr=False)
class Step(Result):
    """One step: what holds now and why.

    Parameters
    ----------
    label
        A short name, unique in its derivation.
    formula
        An expression, a relation or condition, sides that are equal in turn ``(lhs, rhs, ...)``, or a tuple
        of these, one per line.
    why
        The justification, one sentence; Unicode mathematics such as ``ω_i`` is set as such.
    check
        Proves the step by computation: given the lines of ``formula`` it is true if they hold.  Without one the step
        rests on its justification, unless it is a definition.
    scope
        What the check shows: `GENERAL` (every size and value that the formula stands for; the default), `FORMAL` (the
        same, as a formal expansion), or the instances that it is made at in words, such as "H = 2, 3".  Without a
        check: `DEFINITION` (the step says what something is and claims nothing) or `ARGUED` (the default).
    theorem
        A theorem of the literature that the step uses beside its check, or in its place, by name.
    """

    label: str
    formula: tuple[Equation, ...]
    why: str
    check: Callable[..., bool] | None = field(default=None, compare=False, repr=False)
    scope: str = ARGUED
    theorem: str = ""

    def __init__(
        self,
        label: str,
        formula: Formula,
        why: str,
        check: Callable[..., bool] | None = None,
        scope: str = "",
        theorem: str = "",
    ) -> None:
        for name, value in (("label", label), ("why", why)):
            if not isinstance(value, str):
                raise TypeError(f"the {name} of a step must be text, got {value!r}")
            if not value.strip():
                raise ValueError(f"the {name} of a step must not be empty")
        scope = scope or (ARGUED if check is None else GENERAL)
        if (check is None) != (scope in (DEFINITION, ARGUED)):
            raise ValueError(f"the step {label!r} has {'no' if check is None else 'a'} check, but the scope {scope!r}")
        object.__setattr__(self, "label", label)
        object.__setattr__(self, "formula", _lines(formula))
        object.__setattr__(self, "why", why)
        object.__setattr__(self, "check", check)
        object.__setattr__(self, "scope", scope)
        object.__setattr__(self, "theorem", theorem)

    @property
    def in_brief(self) -> str:
        lines = len(self.formula)
        return f"{self.label!r}, {lines} line{'' if lines == 1 else 's'}, {self.scope}"

    def holds(self) -> bool | None:
        """What the check says of the formula; None without one."""
        if self.check is None:
            return None
        takes_formula = bool(signature(self.check).parameters)
        return bool(self.check(*self.formula) if takes_formula else self.check())

    def with_formula(self, formula: Formula) -> Step:
        """The same step with another formula, which its check then judges."""
        return Step(self.label, formula, self.why, self.check, self.scope, self.theorem)


@dataclass(frozen=True)
class CheckReport:
    """What checking a derivation found: labels of the steps that passed, failed, or carry no check."""

    passed: tuple[str, ...]
    failed: tuple[str, ...]
    unchecked: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether no step failed."""
        return not self.failed

    def __str__(self) -> str:
        failed = f"; FAILED: {', '.join(self.failed)}" if self.failed else ""
        return f"{len(self.passed)} steps checked, {len(self.unchecked)} resting on their justification{failed}"


@dataclass(frozen=True, repr=False)
class Derivation(Result):
    """Steps in the order in which each follows from those before it; the last one is the result.

    ``derivation["label"]`` is a step, ``first + second`` the steps of both, each shared step once.  ``given`` are the
    labels of steps that lead to what is assumed, such as those from the model to a closure of its loss.
    """

    title: str
    steps: tuple[Step, ...]
    assumptions: tuple[str, ...] = ()
    given: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for step in self.steps:
            if step.label in seen:
                raise ValueError(f"two different steps of “{self.title}” have the label {step.label!r}")
            seen.add(step.label)

    @property
    def in_brief(self) -> str:
        return f"“{self.title}”, {self.as_part('')}"

    def as_part(self, name: str) -> str:
        return f"{len(self)} step{'' if len(self) == 1 else 's'}"

    @property
    def result(self) -> Step:
        """The last step."""
        if not self.steps:
            raise ValueError(f"the derivation “{self.title}” has no steps yet")
        return self.steps[-1]

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __getitem__(self, label: str) -> Step:
        for step in self.steps:
            if step.label == label:
                return step
        raise KeyError(f"no step {label!r} in “{self.title}”; it has {', '.join(s.label for s in self.steps)}")

    def __contains__(self, label: object) -> bool:
        return any(step.label == label for step in self.steps)

    def __add__(self, other: Derivation) -> Derivation:
        """The steps of both under the title of the second, which is where they lead."""
        steps = self.steps + tuple(step for step in other.steps if step not in self.steps)
        assumptions = self.assumptions + tuple(a for a in other.assumptions if a not in self.assumptions)
        return Derivation(other.title, steps, assumptions, self.given | other.given)

    def check(self) -> CheckReport:
        """Run every check and report which steps passed, failed, or have none."""
        verdicts = {step.label: step.holds() for step in self.steps}
        return CheckReport(
            passed=tuple(label for label, verdict in verdicts.items() if verdict),
            failed=tuple(label for label, verdict in verdicts.items() if verdict is not None and not verdict),
            unchecked=tuple(label for label, verdict in verdicts.items() if verdict is None),
        )

    @property
    def grounds(self) -> Grounds:
        """What the derivation rests on: what was checked by computation and how far, and what is argued in words."""
        return grounds_of(self.steps, self.given)

    @property
    def legend(self) -> str:
        """The sentence that says over what the sums run."""
        return sum_legend(equation for step in self.steps for equation in step.formula)

    def text(self) -> str:
        """The derivation as Unicode text."""
        lines = [self.title, "=" * len(self.title), ""]
        lines += [f"Assume {assumption}." for assumption in self._assumptions()]
        lines += [*([self.legend] if self.legend else []), ""]
        for number, step in enumerate(self.steps, 1):
            lines += [f"{number}. {step.label}: {step.why}", ""]
            lines += [f"     {line}" for line in aligned_text(step.formula).splitlines()] + [""]
        return "\n".join(lines).rstrip() + "\n"

    def latex(self) -> str:
        """The body of a LaTeX section: an enumerated list, without the document around it; made once."""
        return self._latex

    @cached_property
    def _latex(self) -> str:
        lines = [latex_prose(f"Assume {assumption}.") for assumption in self._assumptions()]
        lines += [latex_prose(self.legend)] if self.legend else []
        lines += [r"\begin{enumerate}"] if self.steps else []
        for step in self.steps:
            lines.append(rf"\item \textbf{{{latex_prose(step.label)}.}} {latex_prose(step.why)}")
            lines.append(f"\\[\n{aligned_latex(step.formula)}\n\\]")
        lines += [r"\end{enumerate}"] if self.steps else []
        return "\n".join(lines) + "\n"

    def markdown(self) -> str:
        """The derivation as Markdown with mathematics between double dollar signs."""
        blocks = [f"## {self.title}"]
        blocks += [f"Assume {assumption}." for assumption in self._assumptions()]
        blocks += [self.legend] if self.legend else []
        for number, step in enumerate(self.steps, 1):
            blocks += [f"**{number}. {step.label}.** {step.why}", f"$$\n{aligned_latex(step.formula)}\n$$"]
        return "\n\n".join(blocks) + "\n"

    def html(self) -> str:
        """The derivation as an HTML section with MathML."""
        parts = [f"<h3>{html_prose(self.title)}</h3>"]
        parts += [f"<p>Assume {html_prose(assumption)}.</p>" for assumption in self._assumptions()]
        parts += [f"<p>{html_prose(self.legend)}</p>"] if self.legend else []
        items = "".join(
            f"<li><p><strong>{html_prose(step.label)}.</strong> {html_prose(step.why)}</p>"
            f"{aligned_html(step.formula)}</li>"
            for step in self.steps
        )
        return f'<section class="derivation">{"".join(parts)}<ol>{items}</ol></section>'

    def __str__(self) -> str:
        return self.text()

    def _repr_latex_(self) -> str:
        equations = [equation for step in self.steps for equation in step.formula]
        return f"$$\n{aligned_latex(equations)}\n$$"

    def _repr_html_(self) -> str:
        return self.html()

    def _assumptions(self) -> list[str]:
        return [assumption.rstrip(".") for assumption in self.assumptions]


class Recorder:
    """Collects steps while code derives: the formula that is recorded is the one the code goes on with.

    >>> from sympy import Symbol
    >>> record = Recorder("A square")
    >>> x = Symbol("x")
    >>> square = record("square", x**2, "definition")
    >>> slope = record("slope", square.diff(x), "power rule", check=lambda line: line.subs(x, 3) == 6, scope="x = 3")
    >>> print(record.freeze().grounds)
    1 of 2 steps checked by computation at x = 3 (slope); 1 argued: square
    """

    def __init__(self, title: str, assumptions: tuple[str, ...] = ()) -> None:
        self._derivation = Derivation(title, (), assumptions)

    def __call__(
        self,
        label: str,
        formula: F,
        why: str,
        check: Callable[..., bool] | None = None,
        scope: str = "",
        theorem: str = "",
    ) -> F:
        """Append a step and hand back ``formula`` as it was given."""
        step = Step(label, formula, why, check, scope, theorem)
        self._derivation = replace(self._derivation, steps=(*self._derivation.steps, step))
        return formula

    def include(self, earlier: Derivation, given: bool = False) -> None:
        """Append the steps of ``earlier``, on which what follows rests; or, if ``given``, takes for granted."""
        merged = replace(self._derivation + earlier, title=self._derivation.title)
        labels = frozenset(step.label for step in earlier) if given else frozenset()
        self._derivation = replace(merged, given=merged.given | labels)

    def freeze(self) -> Derivation:
        """The derivation so far."""
        return self._derivation


def _lines(formula: Formula) -> tuple[Equation, ...]:
    """The lines of a formula; a tuple of plain expressions is one line, whose sides are equal in turn."""
    if not isinstance(formula, tuple):
        return (_line(formula),)
    several = any(isinstance(part, (tuple, Relational, BooleanAtom, BooleanFunction)) for part in formula)
    return tuple(map(_line, formula)) if several or len(formula) == 1 else (_line(formula),)


def _line(line: Equation) -> Equation:
    """``line`` with Python integers as SymPy's."""
    sides = line if isinstance(line, tuple) else (line,)
    if not all(isinstance(side, (Basic, int)) for side in sides):
        raise TypeError(f"a line of a formula must be an expression, a relation or (lhs, rhs, ...), got {line!r}")
    if isinstance(line, tuple) and len(line) < 2:
        raise ValueError(f"an equation needs at least two sides, got {line!r}")
    return tuple(map(sympify, line)) if isinstance(line, tuple) else sympify(line)
