"""`microsite user …`: members as the operator handles them."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from microsite.config import ConfigError

Command = TypeVar("Command", bound=Callable[..., Any])
ROLES = click.Choice(["admin", "manager", "member", "guest"])


def on_site(command: Command) -> Command:
    """Run a command inside the application, on a migrated database; a refusal is one sentence and exit 1."""

    @functools.wraps(command)
    def run(*args: Any, **values: Any) -> Any:
        from microsite.app import create_app
        from microsite.cli.database import make_migrated
        from microsite.core.exceptions import DomainError, ValidationFailed

        app = create_app()
        with app.app_context():
            make_migrated(app)
            try:
                return command(*args, **values)
            except ValidationFailed as refused:
                raise ConfigError(
                    " ".join(m for messages in refused.errors.values() for m in messages)
                ) from None
            except DomainError as refused:
                raise ConfigError(refused.detail) from None

    return run  # type: ignore[return-value]


@click.group()
def user() -> None:
    """Members: create, list, disable, enable, change."""


def _find(name: str) -> Any:
    from microsite.auth.services import find_user

    found = find_user(name)
    if found is None:
        raise ConfigError(f"Nobody here is called {name!r}.")
    return found


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))


@user.command()
@click.argument("name")
@click.option("--email", required=True, help="E-mail address.")
@click.option("--role", type=ROLES, default="member", show_default=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from one line of standard input.")
@on_site
def create(name: str, email: str, role: str, password_stdin: bool) -> None:
    """Add a member, confirmed and able to sign in at once."""
    from microsite.auth import services
    from microsite.core.db import atomic
    from microsite.core.identity import Role

    password = _password(password_stdin)
    email = services.check_new_account(name, email, password, reserved_too=True)
    hashed = services.new_password_hash(password)
    with atomic():
        services.create_user(name, email, hashed, Role(role), confirmed=True)
    click.echo(f"{name} can sign in now, with the role {role}.")


@user.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@on_site
def list_users(as_json: bool) -> None:
    """List all members."""
    from sqlalchemy import select

    from microsite.core.db import db
    from microsite.core.identity import User

    rows = [
        {
            "username": u.username, "email": u.email, "role": u.role, "created_at": u.created_at.isoformat(),
            "confirmed": u.confirmed_at is not None, "disabled": u.disabled_at is not None,
        }
        for u in db.session.scalars(select(User).order_by(User.username_key))
    ]  # fmt: skip
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        state = "disabled" if row["disabled"] else "" if row["confirmed"] else "not confirmed"
        click.echo(f"{row['username']:<32}  {row['role']:<8} {row['email']}  {state}".rstrip())


@user.command()
@click.argument("name")
@on_site
def disable(name: str) -> None:
    """Take a member's access away at once: sessions, keys, links, sockets."""
    from microsite.auth import services
    from microsite.core.db import atomic

    with atomic():
        services.disable(_find(name))
    click.echo(f"{name} is disabled.")


@user.command()
@click.argument("name")
@on_site
def enable(name: str) -> None:
    """Give a member access back."""
    from microsite.auth import services
    from microsite.core.db import atomic

    with atomic():
        services.enable(_find(name))
    click.echo(f"{name} is enabled.")


@user.command("set-role")
@click.argument("name")
@click.argument("role", type=ROLES)
@on_site
def set_role(name: str, role: str) -> None:
    """Change a member's role; it holds from the next request on."""
    from microsite.auth import services
    from microsite.core.db import atomic
    from microsite.core.identity import Role

    with atomic():
        services.set_role(_find(name), Role(role))
    click.echo(f"{name} has the role {role} now.")


@user.command("reset-password")
@click.argument("name")
@on_site
def reset_password(name: str) -> None:
    """Print a one-time address at which the member sets a new password."""
    from flask import current_app

    from microsite.auth import services
    from microsite.core import tokens
    from microsite.core.db import atomic

    with atomic():
        token = tokens.issue("reset", _find(name), services.OPERATOR_RESET_LIFE)
    click.echo(f"{current_app.config['BASE_URL']}/auth/reset/{token}")


@user.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@on_site
def delete(name: str, yes: bool) -> None:
    """Delete a member with files and links; messages stay under "deleted member"."""
    from microsite.auth import services
    from microsite.core.db import atomic

    _find(name)
    if not yes and sys.stdin.isatty():
        click.confirm(f"Delete {name} with all files and links?", abort=True)
    with atomic():
        services.delete_user(_find(name))
    click.echo(f"{name} is deleted.")
