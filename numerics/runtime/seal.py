"""Seals: a digest in a file over all of its bytes, so that damage is seen before anything is read from it."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from ...theory.errors import InputError

_NAME: Final = b"sha256:"
# What a file to be sealed holds once: the place of the digest, which is taken with these zeros in its place.
BLANK: Final = (_NAME + b"0" * 64).decode()
_SEAL: Final = re.compile(_NAME + rb"[0-9a-f]{64}")


def sealed(content: bytes) -> bytes:
    """The content with its digest in the place of the one `BLANK`; ``ValueError`` without it."""
    before, blank, after = content.partition(BLANK.encode())
    if not blank:
        raise ValueError("there is no place for a seal")
    return before + _seal_of(content) + after


def check_seal(content: bytes, source: object, what: str) -> None:
    """Raise `InputError` unless the content is as `sealed` returned it, byte by byte.

    ``what`` it should be, such as "trajectory of headflow", is for the sentence, and ``source`` where it is from.
    """
    seals = list(_SEAL.finditer(content))
    if not seals:
        raise InputError(f"{source} holds no {what} that is sealed with a digest, as files are since there are digests")
    blank = BLANK.encode()
    if not any(_seal_of(content[: found.start()] + blank + content[found.end() :]) == found.group() for found in seals):
        raise InputError(f"{source} is damaged or was changed: its contents do not have the digest that it holds")


def _seal_of(content: bytes) -> bytes:
    return _NAME + hashlib.sha256(content).hexdigest().encode()
