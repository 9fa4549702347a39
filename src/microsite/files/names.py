"""Types of files: what the ending of a name stands for. What is kept of a name stands in `core.names`."""

from __future__ import annotations

import mimetypes

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


def media_type(name: str) -> str:
    """The type that the ending stands for; never what the sender says."""
    found, encoding = _types.guess_type(name)
    return "application/octet-stream" if found is None or encoding else found


def ending(name: str) -> str:
    """The part after the last dot, lower-case."""
    return name.rpartition(".")[2].lower() if "." in name else ""
