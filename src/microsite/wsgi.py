"""The WSGI entry point: `gunicorn -c python:microsite.gunicorn_conf microsite.wsgi:app`, also `:application`."""

from __future__ import annotations

import sys

from microsite.app import create_app
from microsite.config import ConfigError

try:
    app = create_app()
except ConfigError as error:
    sys.exit(str(error))

application = app
"""The name that most platforms look for."""
