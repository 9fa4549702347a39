"""What may stand in names: of files, and in lines of text that others are shown."""

from __future__ import annotations

import string
import unicodedata

MAX_BYTES = 255
UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of Unicode that control, reorder or break a line, or are half a character."""
JOINERS = "\u200c\u200d"
"""Invisible too, but Persian and Indic words and joined emoji fall apart without them."""


def is_unseen(character: str) -> bool:
    """Whether a character has no place in a name: it cannot be seen, and changes how the others are."""
    return character not in JOINERS and unicodedata.category(character) in UNSEEN


def clean_name(given: str) -> str:
    """The name without path, control, bidi and half characters, at most 255 bytes; never refused, never empty.

    A long name is cut before its ending.
    """
    last = given.replace("\\", "/").rsplit("/", 1)[-1]
    seen = "".join(c for c in last if not is_unseen(c))
    name = unicodedata.normalize("NFC", seen).strip(JOINERS + string.whitespace)
    if name in ("", ".", ".."):
        return "file"
    if len(name.encode()) <= MAX_BYTES:
        return name
    stem, dot, ending = name.rpartition(".")
    tail = f".{ending}" if dot and stem and len(ending.encode()) <= 20 else ""
    head = name[: -len(tail)] if tail else name
    return head.encode()[: MAX_BYTES - len(tail.encode())].decode("utf-8", "ignore") + tail
