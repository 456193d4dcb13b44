"""Which characters can be shown: those that terminals obey, or that no text file or page holds, as escapes."""

from __future__ import annotations

import re
from typing import Final

# Controls but tabs and line ends, overrides of the reading direction, lone surrogates, and what XML excludes.
_HIDDEN: Final = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")


def visible(text: str) -> str:
    r"""``text`` with an escape for every character that cannot be shown.

    A byte of a file's name that is not UTF-8, which Python holds as a surrogate, is shown as that byte.

    >>> visible("red\x1b[31m, \udcff")
    'red\\x1b[31m, \\xff'
    """
    return _HIDDEN.sub(_escape, text)


def _escape(hidden: re.Match[str]) -> str:
    code = ord(hidden[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
