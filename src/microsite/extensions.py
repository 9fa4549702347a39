"""The Flask extensions, built bare, once; `create_app` binds them. Imports nothing of ours."""

from __future__ import annotations

from typing import Any

from flask import request
from flask_bcrypt import Bcrypt
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager
from flask_mail import Mail
from flask_migrate import Migrate
from flask_session import Session
from flask_socketio import SocketIO
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """Base of all models. Every constraint has a name, so that SQLite's batch migrations can find it."""

    __table_args__: Any = {"sqlite_autoincrement": True}  # a number is never given to a second row
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Logins(LoginManager):
    """Flask-Login, which reads the session of every request, except for static files: those do not vary by cookie."""

    def _update_remember_cookie(self, response: Any) -> Any:
        if (request.endpoint or "").endswith("static"):
            return response
        return super()._update_remember_cookie(response)


db = SQLAlchemy(model_class=Base)
migrate = Migrate()
login_manager = Logins()
bcrypt = Bcrypt()
mail = Mail()
csrf = CSRFProtect()
session = Session()
limiter = Limiter(key_func=get_remote_address)
socketio = SocketIO()
