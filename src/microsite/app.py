"""create_app: the ordered steps that build the application, and the tuple of features.

Building has no side effects beyond the data folder: no migration, no network, no query, no thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from importlib import import_module
from typing import Any

import click
from apiflask import APIBlueprint
from werkzeug.middleware.proxy_fix import ProxyFix

from microsite import __version__, config
from microsite.cli import development
from microsite.config import ConfigError, Setting
from microsite.core import (
    access,
    addresses,
    compression,
    db,
    document,
    headers,
    health,
    hosts,
    jobs,
    log,
    mailer,
    pages,
    realtime,
    reservations,
    schemas,
    sessions,
    slots,
    sockets,
    static,
    storage,
    tokens,
)
from microsite.core.feature import Feature, Registry, Task
from microsite.core.identity import Anonymous, Role, User
from microsite.core.openapi import Application
from microsite.core.throttle import RestingMemory
from microsite.extensions import bcrypt, limiter, login_manager, mail, migrate

FEATURES = (
    "errors",
    "site",
    "auth",
    "files",
    "links",
    "chat",
)
"""One folder each. The order is that of the navigation."""

KERNEL_TASKS = (
    Task(name="mail", run=mailer.deliver, attempts=10),
    Task(name="sessions.purge", run=sessions.purge_sessions, every=timedelta(hours=1)),
    Task(name="tokens.purge", run=tokens.purge_tokens, every=timedelta(hours=1)),
    Task(name="jobs.purge", run=jobs.purge_jobs, every=timedelta(days=1)),
)


def known_features() -> tuple[Feature, ...]:
    """The cards of all features, in order; imports their models, so that migrations know every table."""
    return tuple(import_module(f"microsite.{name}").feature for name in FEATURES)


def settings_table() -> tuple[Setting, ...]:
    """Every setting: the kernel's and those on the cards, also of features that are off."""
    return config.CORE_SETTINGS + tuple(
        setting for feature in known_features() for setting in feature.settings
    )


def load_config(overrides: Mapping[str, Any] | None = None) -> config.Configuration:
    """Read and check all settings. Raises ConfigError."""
    found = config.load(settings_table(), overrides)
    can_be_off = {feature.name for feature in known_features() if feature.can_be_off}
    for name in found.values["FEATURES_OFF"]:
        if name not in can_be_off:
            raise ConfigError(
                f"FEATURES_OFF: {name!r} is not a feature that can be off; those are {', '.join(sorted(can_be_off))}."
            )
    config.prepare_instance(found.values)
    return found


def create_app(**overrides: Any) -> Application:
    """Build the application. Raises ConfigError with one sentence when a setting is wrong."""
    values = _settings(overrides)
    app = Application(
        "microsite", instance_path=values["INSTANCE"], title=values["SITE_NAME"], version=__version__,
        spec_path="/api/v1/openapi.json", docs_path=None, json_errors=False,
    )  # fmt: skip
    _configure(app, values)
    log.init_app(app)
    off = values["FEATURES_OFF"]
    known = known_features()
    enabled = tuple(feature for feature in known if feature.name not in off)
    app.extensions["microsite"] = registry = Registry(enabled, known)
    registry.tasks |= {task.name: task for task in KERNEL_TASKS}

    db.init_app(app)
    migrate.init_app(
        app,
        db.db,
        directory=str(import_module("microsite").__path__[0]) + "/migrations",
        render_as_batch=True,
    )
    bcrypt.init_app(app)
    mail.init_app(app)
    app.extensions["limiter"] = {
        limiter
    }  # else it asks on every request for limits of routes, of which we have none
    limiter.init_app(app)
    sessions.SqlSession().init_app(app)
    login_manager.anonymous_user = Anonymous

    compression.init_app(app)
    hosts.init_app(
        app
    )  # the order of these is the order of a request: host, rights and size and form token, view
    access.init_app(app)
    headers.init_app(app)
    pages.init_app(app)
    addresses.init_app(app)
    slots.init_app(app)
    storage.init_app(app)
    reservations.init_app(app)
    realtime.init_app(app)
    sockets.init_app(app)
    health.init_app(app)
    document.init_app(app)
    _register(app, enabled)
    static.init_app(app)
    access.open_to_all(app, "openapi.spec")
    if values["TRUSTED_PROXIES"]:
        hops = values["TRUSTED_PROXIES"]
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    app.shell_context_processor(lambda: {"db": db.db, "User": User, "Role": Role})
    if development.in_flask():
        app.wsgi_app = development.FirstRequest(app)  # type: ignore[method-assign]
    return app


def _settings(overrides: Mapping[str, Any]) -> dict[str, Any]:
    if not development.in_flask():
        return load_config(overrides).values
    try:
        found = load_config(overrides)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    development.take_options(found)
    return found.values


def _configure(app: Application, values: dict[str, Any]) -> None:
    secure = values["BASE_URL"].startswith("https:")
    app.config.from_mapping(
        values,
        BCRYPT_HANDLE_LONG_PASSWORDS=True,  # never to be changed: existing hashes depend on it
        BCRYPT_LOG_ROUNDS=4 if values["ENV"] == "testing" else 12,
        MAIL_SERVER=values["MAIL_SERVER"],
        RATELIMIT_STORAGE_URI=values["REDIS_URL"] or RestingMemory.ADDRESS,
        RATELIMIT_STORAGE_OPTIONS={"wrap_exceptions": True},
        RATELIMIT_STRATEGY="moving-window",
        SESSION_COOKIE_SECURE=secure,
        SESSION_COOKIE_NAME="__Host-session" if secure else f"session_{values['PORT']}",
        SESSION_REFRESH_EACH_REQUEST=False,
        MAX_CONTENT_LENGTH=None,  # the guard sets the limit of each request
        MAX_FORM_MEMORY_SIZE=access.FORM_LIMIT,
        OPENAPI_VERSION="3.1.0",
        SPEC_FORMAT="json",
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]


def _register(app: Application, enabled: tuple[Feature, ...]) -> None:
    api = APIBlueprint("api", __name__, url_prefix="/api/v1", enable_openapi=False)
    api.before_request(schemas.check_request)
    for feature in enabled:
        if feature.setup:
            feature.setup(app)
        app.register_blueprint(feature.bp)
        if feature.api:
            api.register_blueprint(feature.api)
    app.register_blueprint(api)
    home = next(feature.home for feature in enabled if feature.home)
    app.add_url_rule("/", endpoint="home", view_func=app.view_functions[home])
