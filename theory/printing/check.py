"""The structural check of LaTeX, for machines without TeX: what would not compile, or lost an index."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .glyphs import MATHEMATICS

_TOKEN = re.compile(
    r"%[^\n]*|\\(?P<env>begin|end)\s*\{(?P<name>[^{}]*)\}"
    r"|\\(?P<side>left|right)\s*(?P<fence>\\[A-Za-z]+|\\[{}|]|.)"
    r"|\\(?P<command>[A-Za-z]+|.)|(?P<brace>[{}])|(?P<mark>[&$])",
    re.DOTALL,
)
_ENVIRONMENTS = frozenset(
    {"document", "enumerate", "itemize", "aligned", "align*", "cases", "equation*", "theorem", "proof", "tabular"}
)
_COMMANDS = frozenset(
    """documentclass usepackage IfFileExists newtheorem toprule midrule bottomrule
    label allowdisplaybreaks setlength parindent parskip title author date
    maketitle section subsection item par ref textbf emph newcommand DeclareMathOperator text mathrm mathcal
    mathbb operatorname frac tfrac sqrt sum prod int lim dot hat bar tilde biggl biggr langle rangle
    lvert rvert log ln exp min max det sup inf arg sin cos tan arcsin arccos arctan sinh cosh tanh
    coth qquad quad times cdot star prime top textbackslash textasciicircum textasciitilde""".split()  # noqa: SIM905  (a list literal of this would fill a page)
)
_TABLE = frozenset(found for latex in MATHEMATICS.values() for found in re.findall(r"\\([A-Za-z]+)", latex))
_PUNCTUATION = frozenset("\\{}$&#%_^~,;:!| []()'`\n")
_DECLARED = re.compile(r"\\(?:newcommand|DeclareMathOperator)\*?\s*\{?\\([A-Za-z]+)")
_BIG = re.compile(r"\\(?:sum|prod)_\{(?P<lower>(?:[^{}]|\{[^{}]*\})*)\}(?:\^\{(?:[^{}]|\{[^{}]*\})*\})?")
_WORDS = re.compile(r"\\(?:mathrm|operatorname|text)\{[^{}]*\}")
# Where a summand may end: its group, its line (unless the next one continues it), or a relation.
_BORDER = re.compile(
    r"(?P<open>\\left\b|\\begin\b|(?<!\\)\{)|(?P<close>\\right\b|\\end\b|(?<!\\)\}|\$|\\\])"
    r"|(?P<stop>\\\\(?!\s*&\s*\\qquad)|=|\\(?:leq|geq|neq|to)\b|(?<![\\A-Za-z])[<>])"
)


def check_latex(source: str) -> list[str]:
    """Structural problems of a LaTeX formula or document; an empty list if there are none.

    Looks at environments, braces, ``\\left``/``\\right`` pairs and dollar signs, at commands that neither
    LaTeX, amsmath nor the source itself defines, and at sums whose index does not appear in what they sum.
    """
    return [*_structure(source), *_unused_indices(source)]


def _structure(source: str) -> Iterator[str]:
    if raw := sorted(char for char in set(source) & MATHEMATICS.keys() if not char.isascii()):
        yield f"mathematics that is not translated: {' '.join(raw)}"
    declared = _COMMANDS | _TABLE | frozenset(_DECLARED.findall(source))
    still_open: list[str] = []
    for token in _TOKEN.finditer(source):
        opened, closed = _effect(token, still_open)
        if closed is not None and (not still_open or still_open.pop() != closed):
            yield f"{token[0]} does not close {closed}"
        if opened is not None:
            still_open.append(opened)
        if token["env"] and token["name"] not in _ENVIRONMENTS:
            yield f"unknown environment {token['name']}"
        if token["mark"] == "&" or token["command"] == "\\":
            if not still_open or not still_open[-1].startswith("environment"):
                yield f"{token[0]} outside an environment"
        elif token["command"] and token["command"] not in declared | _PUNCTUATION:
            yield rf"unknown command \{token['command']}"
    yield from (f"{what} is never closed" for what in still_open)


def _effect(token: re.Match[str], still_open: list[str]) -> tuple[str | None, str | None]:
    """What ``token`` opens and what it should close."""
    if token["env"]:
        what = f"environment {token['name']}"
    elif token["side"]:
        what = r"\left"
    elif token["brace"]:
        what = "{"
    elif token["mark"] == "$":
        return (None, "$") if still_open and still_open[-1] == "$" else ("$", None)
    elif token["command"] in ("[", "]"):
        what = r"\["
    else:
        return None, None
    opens = token["env"] == "begin" or token["side"] == "left" or token["brace"] == "{" or token["command"] == "["
    return (what, None) if opens else (None, what)


def _unused_indices(source: str) -> Iterator[str]:
    for operator in _BIG.finditer(source):
        if source[operator.end() : operator.end() + 1] == "$":
            continue  # a sum that a sentence mentions, such as "collapse the sum over k"
        indices = operator["lower"].partition("=")[0].split(",")
        summand = source[operator.end() : _end_of_summand(source, operator.end())]
        letters = re.sub(r"\\[A-Za-z]+", "", _WORDS.sub("", summand))
        for index in map(str.strip, indices):
            if index not in (summand if index.startswith("\\") else letters):
                yield f"index {index} is not used under {operator[0]}"


def _end_of_summand(source: str, start: int) -> int:
    depth = 0
    for border in _BORDER.finditer(source, start):
        if border["open"]:
            depth += 1
        elif border["close"]:
            depth -= 1
            if depth < 0:
                return border.start()
        elif depth == 0:
            return border.start()
    return len(source)
