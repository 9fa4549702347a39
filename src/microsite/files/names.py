"""Names of files: what is kept of the name that a sender gave, and the type that its ending stands for."""

from __future__ import annotations

import mimetypes
import string
import unicodedata

MAX_BYTES = 255
UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
JOINERS = (
    "\u200c\u200d"  # invisible too, but Persian and Indic words and joined emoji fall apart without them
)
_types = mimetypes.MimeTypes(filenames=())
for _ending, _type in {
    ".webp": "image/webp", ".avif": "image/avif", ".heic": "image/heic", ".jxl": "image/jxl", ".opus": "audio/ogg",
    ".flac": "audio/flac", ".m4a": "audio/mp4", ".ogg": "audio/ogg", ".oga": "audio/ogg", ".ogv": "video/ogg",
    ".mkv": "video/x-matroska", ".md": "text/markdown", ".7z": "application/x-7z-compressed", ".log": "text/plain",
    ".epub": "application/epub+zip", ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".gz": "application/gzip",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation", ".yaml": "application/yaml",
    ".odt": "application/vnd.oasis.opendocument.text", ".ods": "application/vnd.oasis.opendocument.spreadsheet",
}.items():  # fmt: skip
    _types.add_type(_type, _ending)


def clean_name(given: str) -> str:
    """The name without path, control, bidi and half characters, at most 255 bytes; never refused, never empty.

    A long name is cut before its ending.
    """
    last = given.replace("\\", "/").rsplit("/", 1)[-1]
    seen = "".join(c for c in last if c in JOINERS or unicodedata.category(c) not in UNSEEN)
    name = unicodedata.normalize("NFC", seen).strip(JOINERS + string.whitespace)
    if name in ("", ".", ".."):
        return "file"
    if len(name.encode()) <= MAX_BYTES:
        return name
    stem, dot, ending = name.rpartition(".")
    tail = f".{ending}" if dot and stem and len(ending.encode()) <= 20 else ""
    head = name[: -len(tail)] if tail else name
    return head.encode()[: MAX_BYTES - len(tail.encode())].decode("utf-8", "ignore") + tail


def media_type(name: str) -> str:
    """The type that the ending stands for; never what the sender says."""
    found, encoding = _types.guess_type(name)
    return "application/octet-stream" if found is None or encoding else found


def ending(name: str) -> str:
    """The part after the last dot, lower-case."""
    return name.rpartition(".")[2].lower() if "." in name else ""
