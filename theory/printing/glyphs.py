"""The table of characters: which LaTeX command stands for which Unicode mathematics character."""

from __future__ import annotations

from types import MappingProxyType

GREEK = MappingProxyType(
    {
        "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η",
        "theta": "θ", "vartheta": "ϑ", "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν",
        "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "upsilon": "υ", "phi": "φ",
        "chi": "χ", "psi": "ψ", "omega": "ω",
        "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ",
        "Upsilon": "Υ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
    }
)  # fmt: skip

# The field writes the curly forms; in Unicode they are the plain letters.
_CURLY = {"epsilon": r"\varepsilon", "phi": r"\varphi"}

LETTERS = MappingProxyType(
    {character: _CURLY.get(name, "\\" + name) for name, character in GREEK.items()}
    | {
        "𝓛": r"\mathcal{L}",
        "ℓ": r"\ell",
        "𝔼": r"\mathbb{E}",
        "ℝ": r"\mathbb{R}",
        "∞": r"\infty",
        "∂": r"\partial",
    }
)

OPERATORS = MappingProxyType(
    {
        "−": "-", "·": r"\cdot", "×": r"\times", "∘": r"\circ", "±": r"\pm",
        "=": "=", "≠": r"\neq", "<": "<", ">": ">", "≤": r"\leq", "≥": r"\geq", "≈": r"\approx",
        "∝": r"\propto",
        "→": r"\to", "⇒": r"\Rightarrow", "⇔": r"\Leftrightarrow", "∈": r"\in", "∉": r"\notin",
        "⊆": r"\subseteq",
        "⪰": r"\succeq", "⪯": r"\preceq", "≡": r"\equiv", "≃": r"\simeq", "~": r"\sim", "↦": r"\mapsto",
        "∧": r"\wedge", "∨": r"\vee", "∩": r"\cap", "∪": r"\cup", "⊗": r"\otimes", "⊙": r"\odot",
    }
)  # fmt: skip

# "Σ" also serves as the sum sign in prose; a formula's own sums never pass through this table.
SYMBOLS = MappingProxyType(
    {
        "∑": r"\sum", "∏": r"\prod", "∫": r"\int", "√": r"\surd", "∇": r"\nabla", "⟨": r"\langle",
        "⟩": r"\rangle",
        "…": r"\dots", "⋯": r"\cdots", "∗": "*", "⋆": r"\star", "′": "'", "⊤": r"\top", "∀": r"\forall",
        "∃": r"\exists", "½": r"\tfrac12", "‖": r"\|",
    }
)  # fmt: skip

MATHEMATICS = MappingProxyType({**LETTERS, **OPERATORS, **SYMBOLS})

SUPERSCRIPTS = str.maketrans("0123456789+-−ni", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻ⁿⁱ")
SUPERSCRIPT_VALUES = MappingProxyType(
    dict(
        zip(
            "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿⁱᵀ",
            ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "+", "-", "n", "i", r"\top"),
            strict=True,
        )
    )
)
SUBSCRIPT_VALUES = MappingProxyType(dict(zip("₀₁₂₃₄₅₆₇₈₉ₕᵢⱼₖ", "0123456789hijk", strict=True)))

_SPECIALS = str.maketrans(
    {
        "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
        "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
        "–": "--", "—": "---", "‘": "`", "’": "'", "“": "``", "”": "''", "\u00a0": "~",
    }
)  # fmt: skip


def escape_latex(words: str) -> str:
    """``words`` with the characters that LaTeX would act on made harmless."""
    return words.translate(_SPECIALS)
