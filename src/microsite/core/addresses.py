"""The rest of an address as one value, whatever it holds: line breaks, doubled slashes, nothing at all.

Flask's own `path` answers 404 for those, where a file name is never refused and a broken link has an answer of its own.
"""

from __future__ import annotations

from flask import Flask
from werkzeug.routing import PathConverter


class Rest(PathConverter):
    """`/upload/<rest:name>`"""

    regex = "(?s:.*)"
    part_isolating = False


def init_app(app: Flask) -> None:
    app.url_map.converters["rest"] = Rest
