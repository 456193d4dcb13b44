"""Reads LaTeX mathematics, a formula or an aligned block of which the lines belong to one formula."""

from __future__ import annotations

import re

from .marks import Bar, Big, Close, Digits, Letter, Open, Root, Row, Script, Sign, Token, Unreadable, row_of

_TOKEN = re.compile(
    r"\\(?P<side>left|right|biggl|biggr)\s*(?P<fence>\\[A-Za-z]+|\\[{}|]|.)|\\(?P<command>[A-Za-z]+)|(?P<space>\\[,;!]|\s+)"
    r"|(?P<brace>[{}])|(?P<script>[_^])|(?P<prime>')|(?P<digits>[0-9]+)|(?P<letter>[A-Za-z])|(?P<other>.)",
    re.DOTALL,
)
_BLOCK = re.compile(r"\\begin\{aligned\}|\\end\{aligned\}|\\\\\n|&|\\qquad\b")
_LETTERS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "varepsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ",
    "vartheta": "ϑ", "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ",
    "sigma": "σ", "tau": "τ", "upsilon": "υ", "varphi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω", "Gamma": "Γ",
    "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Upsilon": "Υ", "Phi": "Φ",
    "Psi": "Ψ", "Omega": "Ω", "infty": "∞", "partial": "∂", "ell": "ℓ", "star": "⋆", "prime": "′", "top": "⊤",
}  # fmt: skip
_SIGNS = {"cdot": "·", "times": "×", "leq": "≤", "geq": "≥", "neq": "≠"}
_FUNCTIONS = {"log", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "coth", "min", "max"}
_WORDS = _FUNCTIONS | {"inf", "det"}
_STYLES = {"mathrm", "operatorname", "mathcal", "mathbb"}
_DRAWN = {("mathcal", "L"): "𝓛", ("mathbb", "E"): "𝔼", ("mathbb", "R"): "ℝ"}
_ACCENTS = {"dot": "\u0307", "hat": "\u0302", "bar": "\u0304", "tilde": "\u0303"}
_BRACKETS = {r"\{": "{", r"\}": "}", r"\langle": "⟨", r"\rangle": "⟩"}
_COMMAND_BRACKETS = {"langle": Open("⟨"), "rangle": Close("⟩"), "lvert": Open("|"), "rvert": Close("|")}


def read_latex(latex: str) -> Row:
    """The marks of ``latex``."""
    reader = _Reader([found for found in _TOKEN.finditer(_BLOCK.sub(" ", latex)) if found.lastgroup != "space"])
    return row_of(reader.tokens())


class _Reader:
    def __init__(self, found: list[re.Match[str]]) -> None:
        self.found = found
        self.place = 0

    def tokens(self) -> list[Token]:
        """What stands up to the brace that closes the group, or the end."""
        tokens: list[Token] = []
        while self.place < len(self.found) and self.found[self.place][0] != "}":
            tokens += self.one()
        return tokens

    def group(self) -> Row:
        """The argument of a command: a group in braces, or one token."""
        if self.place == len(self.found):
            raise Unreadable("an argument is missing")
        if self.found[self.place][0] != "{":
            return row_of(self.one())
        self.place += 1
        row = row_of(self.tokens())
        self.closed()
        return row

    def closed(self) -> None:
        if self.place == len(self.found):
            raise Unreadable("a brace is never closed")
        self.place += 1

    def one(self) -> list[Token]:
        found = self.found[self.place]
        self.place += 1
        text = found[0]
        match found.lastgroup:
            case "fence":
                bracket = _BRACKETS.get(found["fence"], found["fence"])
                return [Open(bracket) if found["side"] in ("left", "biggl") else Close(bracket)]
            case "command":
                return self.command(found["command"])
            case "brace":
                tokens = self.tokens()
                self.closed()
                return tokens
            case "script":
                return [Script(text == "_", self.group())]
            case "prime":
                return [Script(False, (Letter("′"),))]
            case "digits":
                return [Digits(text)]
            case "letter":
                return [Letter(text)]
        if text in "([":
            return [Open(text)]
        if text in ")]":
            return [Close(text)]
        if text in "+-/,=<>":
            return [Sign(text.replace("-", "−"))]
        if text == "*":
            return [Letter("*")]
        raise Unreadable(f"{text!r} in LaTeX")

    def command(self, name: str) -> list[Token]:
        if name == "frac":
            return [Bar(self.group(), self.group())]
        if name == "sqrt":
            return [Root(self.group())]
        if name in ("sum", "prod"):
            scripts = {}
            while self.place < len(self.found) and (mark := self.found[self.place][0]) in "_^":
                self.place += 1
                scripts[mark] = self.group()
            return [Big({"sum": "Σ", "prod": "Π"}[name], scripts["_"], scripts.get("^"))]
        if name in _STYLES:
            self.place += 1
            word = ""
            while self.found[self.place][0] != "}":
                word += self.found[self.place][0]
                self.place += 1
            self.place += 1
            return [Letter(_DRAWN.get((name, word), word))]
        if name in _ACCENTS:
            (base,) = self.group()
            if not isinstance(base, Letter):
                raise Unreadable(f"an accent on {base}")
            return [Letter(base.text + _ACCENTS[name])]
        if name in _COMMAND_BRACKETS:
            return [_COMMAND_BRACKETS[name]]
        if name in _SIGNS:
            return [Sign(_SIGNS[name])]
        if name in _LETTERS:
            return [Letter(_LETTERS[name])]
        if name in _WORDS:
            return [Letter(name)]
        raise Unreadable(f"\\{name}")
