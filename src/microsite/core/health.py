"""/healthz and /readyz: is the process alive, and can it do its work."""

from __future__ import annotations

import os

from flask import Flask, current_app, jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import text

from microsite.core.access import public
from microsite.core.db import db, release
from microsite.core.storage import storage


@public
def healthz() -> ResponseReturnValue:
    """Say that the process answers."""
    return jsonify(status="ok")


@public
def readyz() -> ResponseReturnValue:
    """Say that database, storage and Redis answer, or name what is down."""
    down = what_is_down()
    release()
    return (jsonify(status="unavailable", down=down), 503) if down else jsonify(status="ok")


def what_is_down() -> list[str]:
    """Names of the parts that do not answer."""
    down = []
    try:
        db.session.execute(text("SELECT 1 FROM users LIMIT 1"))
    except Exception:
        current_app.logger.exception("readiness: the database does not answer")
        db.session.rollback()
        down.append("database")
    if not os.access(storage().partial, os.W_OK | os.X_OK):
        down.append("storage")
    if current_app.config["REDIS_URL"]:
        import redis

        try:
            redis.Redis.from_url(
                current_app.config["REDIS_URL"], socket_timeout=2, socket_connect_timeout=2
            ).ping()
        except redis.RedisError:
            down.append("redis")
    return down


def init_app(app: Flask) -> None:
    app.add_url_rule("/healthz", view_func=healthz)
    app.add_url_rule("/readyz", view_func=readyz)
