"""How verdicts are put into words: their order, where each was reached, and all of them in a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ..checks.place import Scope
from .verdict import Outcome, Verdict

_REACHED: Mapping[Scope, str] = {
    "problem": "checked on this problem",
    "general": "shown in general",
    "part": "checked on its first tasks",
    "other": "checked on other problems",
}
_OUTCOMES: Mapping[Outcome, tuple[str, str]] = {
    "holds": ("holds", "hold"),
    "fails": ("fails", "fail"),
    "inconclusive": ("is inconclusive", "are inconclusive"),
    "not_applicable": ("does not apply", "do not apply"),
}


def in_order(verdicts: Sequence[Verdict]) -> list[tuple[Verdict, bool]]:
    """Every verdict, and whether it stands under the one on its parent, which it then follows."""
    ids = {verdict.id for verdict in verdicts}
    found = []
    for verdict in verdicts:
        if verdict.parent not in ids:
            found.append((verdict, False))
            found += [(other, True) for other in verdicts if other.parent == verdict.id]
    return found


def place(verdict: Verdict) -> str:
    """Where the verdict was reached; of a statement that is not applicable why, and what was found elsewhere."""
    if not verdict.instead:
        return verdict.where or verdict.reason
    return f"{verdict.reason}; {verdict.instead.replace('_', ' ')} {verdict.where}".rstrip()


def grounds(verdict: Verdict) -> str:
    """What of the statement's derivation was checked by computation, and how much rests on words or known theorems."""
    argued = [f"{len(verdict.argued)} argued"] if verdict.argued else []
    cited = [f"with {', '.join(verdict.theorems)}"] if verdict.theorems else []
    return "; ".join([verdict.checked, *argued, *cited])


def sentence(verdicts: Iterable[Verdict]) -> str:
    """How many theorems hold (and where that was seen), fail, stay open or do not apply; then what restates them."""
    kinds: dict[bool, list[Verdict]] = {True: [], False: []}
    for verdict in verdicts:
        kinds[not verdict.parent].append(verdict)
    parts = [
        _counted(kinds[True], "theorem", "theorems"),
        _counted(kinds[False], "restatement or corollary", "restatements and corollaries"),
    ]
    told = "; ".join(filter(None, parts))
    return told[:1].upper() + told[1:] + "." * bool(told)


def _counted(verdicts: Sequence[Verdict], one: str, many: str) -> str:
    if not verdicts:
        return ""
    outcomes = Counter(verdict.verdict for verdict in verdicts)
    reached = Counter(verdict.scope for verdict in verdicts if verdict.verdict == "holds")
    where = ", ".join(f"{reached[scope]} {words}" for scope, words in _REACHED.items() if reached[scope])
    total = len(verdicts)
    if outcomes["holds"] == total:
        return f"all {total} {many} hold ({where})" if total > 1 else f"the {one} holds ({where.partition(' ')[2]})"
    parts = []
    for outcome, (singular, plural) in _OUTCOMES.items():
        if count := outcomes[outcome]:
            parts.append(f"{count} {singular if count == 1 else plural}" + f" ({where})" * (outcome == "holds"))
    return f"of {total} {many if total > 1 else one} {', '.join(parts)}"
