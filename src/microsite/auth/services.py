"""Verbs of accounts. They flush and never commit; passwords are hashed before the transaction, by the caller's edge."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta

from email_validator import EmailNotValidError, validate_email
from flask import current_app
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from microsite.core import tokens
from microsite.core.clock import now
from microsite.core.db import atomic, db, release
from microsite.core.exceptions import Forbidden, NotFound, RateLimited, Unauthorized, ValidationFailed
from microsite.core.feature import registry
from microsite.core.forms import unprintable
from microsite.core.identity import Role, User, rotated_login_id
from microsite.core.jobs import enqueue
from microsite.core.mailer import send_mail
from microsite.core.passwords import check_password, hash_password
from microsite.core.realtime import cut_connections
from microsite.core.sessions import end_sessions
from microsite.core.throttle import Throttle

from . import devices
from .passwords import objection

CONFIRM_LIFE = timedelta(hours=24)
RESET_LIFE = timedelta(minutes=30)
SETUP_LIFE = timedelta(days=7)
OPERATOR_RESET_LIFE = timedelta(days=1)

WRONG_BY_ACCOUNT = Throttle("sign-in account", "5 per 5 minutes", "Too many wrong passwords.")
WRONG_BY_ADDRESS = Throttle(
    "sign-in address", "30 per 5 minutes", "Too many wrong passwords from your network."
)
WRONG_BY_DEVICE = Throttle("sign-in device", "5 per 5 minutes", "Too many wrong passwords.")
REGISTER_BY_ADDRESS = Throttle("register address", "20 per hour", "Too many registrations from your network.")
RESET_BY_ADDRESS = Throttle("reset address", "20 per hour", "Too many of these mails from your network.")
MAIL_BY_ACCOUNT = Throttle("mail account", "5 per hour", "Too many of these mails to this address.")

RESERVED = frozenset(
    "about abuse account admin administrator anonymous api auth bot chat contact deleted everyone explore feed files "
    "guest help here home info links login logout mail manager me member microsite moderator nobody null operator "
    "owner people postmaster privacy register root security setup site staff static support system undefined "
    "webmaster www you".split()
)


# --- names and addresses -----------------------------------------------------------------------------------------


def name_objection(username: str) -> str | None:
    """Why nobody can have this name, in one sentence, or None."""
    if not username:
        return "Choose a name."
    if re.search(r"\s", username):
        return "A name has no spaces."
    if not re.fullmatch(r"[A-Za-z0-9_-]+", username):
        return "A name has only letters A to Z, digits, _ and -."
    if not username[0].isalpha():
        return "A name starts with a letter."
    if not 3 <= len(username) <= 32:
        return f"The name has {len(username)} characters; 3 to 32 are possible."
    return None


def name_message(username: str) -> tuple[bool, str]:
    """Whether somebody can register under this name, and the sentence for it."""
    objected = name_objection(username)
    if objected:
        return False, objected
    if username.lower() in RESERVED:
        return False, "That name is reserved."
    if user_by_name(username):
        free = suggestions(username)
        return False, "That name is taken." + (f" Free: {', '.join(free)}." if free else "")
    return True, "That name is free."


def suggestions(username: str) -> list[str]:
    """Up to two free names near a taken one."""
    stem = username[:28].rstrip("-_")
    candidates = [f"{stem}-{letter}" for letter in "abc"] + [f"{stem}{number}" for number in range(2, 30)]
    taken = set(
        db.session.scalars(
            select(User.username_key).where(User.username_key.in_([c.lower() for c in candidates]))
        )
    )
    return [candidate for candidate in candidates if candidate.lower() not in taken][:2]


def user_by_name(username: str) -> User | None:
    return db.session.scalar(select(User).where(User.username_key == username.lower()))


def user_by_email(email: str) -> User | None:
    return db.session.scalar(select(User).where(User.email_key == email.casefold()))


def find_user(name_or_email: str) -> User | None:
    """The member of that name or address."""
    text = name_or_email.strip()
    return user_by_email(text) if "@" in text else user_by_name(text)


def checked_email(email: str) -> str:
    """The normalised address. Raises ValidationFailed."""
    try:
        return validate_email(email.strip(), check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError as error:
        raise ValidationFailed({"email": [f"This is not an e-mail address: {error}"]}) from None


# --- accounts ----------------------------------------------------------------------------------------------------


def check_new_account(username: str, email: str, password: str, *, reserved_too: bool = False) -> str:
    """All objections at once, before anything is hashed or written; returns the normalised address."""
    errors: dict[str, list[str]] = {}
    free, sentence = name_message(username)
    if not free and not (reserved_too and sentence == "That name is reserved."):
        errors["username"] = [sentence]
    try:
        email = checked_email(email)
    except ValidationFailed as refused:
        errors |= refused.errors
    objected = objection(password)
    if objected:
        errors["password"] = [objected]
    if errors:
        raise ValidationFailed(errors)
    return email


def create_user(username: str, email: str, password_hash: str, role: Role, *, confirmed: bool) -> User:
    """Add a member. Raises ValidationFailed when name or address are taken."""
    if user_by_name(username):
        raise ValidationFailed({"username": ["That name is taken."]})
    if user_by_email(email):
        raise ValidationFailed({"email": ["There is an account with this address already."]})
    user = User(
        username=username, username_key=username.lower(), email=email, email_key=email.casefold(),
        password_hash=password_hash, role=role.value, confirmed_at=now() if confirmed else None,
    )  # fmt: skip
    db.session.add(user)
    try:
        db.session.flush()
    except IntegrityError:  # another request took the name or the address since it was looked up
        raise ValidationFailed({"username": ["That name or that address was taken just now."]}) from None
    if role is Role.ADMIN:
        tokens.withdraw("setup", None)  # the site has its first administrator, so the printed address is over
    current_app.logger.info("account created", extra={"user": username, "role": role.value})
    return user


def register(
    username: str, email: str, password_hash: str, role: Callable[[], Role] = lambda: Role.MEMBER
) -> User | None:
    """Add a member who comes by the registration page. `role` is asked when there will be one: it may spend an invitation.

    Without a mail server the member is confirmed at once and returned. With one a mail goes out and None comes
    back: to the new address to confirm it, or to the known one to say that it is known. Both look the same.
    Raises ValidationFailed, RateLimited, and Gone for an invitation that is over.
    """
    if not current_app.config["MAIL_SERVER"]:
        return create_user(username, email, password_hash, role(), confirmed=True)
    MAIL_BY_ACCOUNT.spend(email.casefold())  # known or not, so that the limit does not tell either
    given = role()  # known or not: an invitation that only unknown addresses use up would tell them apart
    known = user_by_email(email)
    if known:
        send_mail(known.email, "You have an account already", "auth/mail/known.txt", user=known)
        return None
    user = create_user(username, email, password_hash, given, confirmed=False)
    mail_confirmation(user)
    return None


def mail_confirmation(user: User) -> None:
    """Mail a fresh confirmation address; it withdraws the older one."""
    token = tokens.issue("confirm", user, CONFIRM_LIFE)
    send_mail(user.email, "Confirm your address", "auth/mail/confirm.txt", user=user, token=token)


def confirm(token: str) -> User:
    """Spend a confirmation token. Raises Gone."""
    user = tokens.spend("confirm", token)
    assert user is not None
    user.confirmed_at = user.confirmed_at or now()
    return user


def set_up(token: str, username: str, email: str, password_hash: str) -> User:
    """Spend the setup token and make the first administrator. Raises Gone, ValidationFailed."""
    tokens.spend("setup", token)
    return create_user(username, email, password_hash, Role.ADMIN, confirmed=True)


def setup_token() -> str | None:
    """A one-time token for the first administrator, while nobody has an account; it withdraws the older one."""
    if db.session.scalar(select(User.id).limit(1)) is not None:
        tokens.withdraw("setup", None)
        return None
    return tokens.issue("setup", None, SETUP_LIFE)


# --- signing in --------------------------------------------------------------------------------------------------


def verify(name_or_email: str, password: str, address: str, device: str = "") -> User:
    """The member with that name or address and password. `device` is the cookie of a known one, which strangers'
    guesses do not keep out.

    Raises Unauthorized (one sentence for unknown, wrong and disabled), RateLimited, Unavailable while too many
    passwords are checked, or Forbidden while the address is not confirmed. Only wrong passwords count against the
    limits. Not to be called inside `atomic()`.
    """
    user = find_user(name_or_email)
    account = f"id {user.id}" if user else f"name {name_or_email.strip().casefold()[:100]}"
    stored = user.password_hash if user else None
    known = devices.known(device, user) if user else None
    limits = [(WRONG_BY_ACCOUNT, account), (WRONG_BY_ADDRESS, address)]
    if known is not None:
        limits = [(WRONG_BY_DEVICE, known)]
    release()  # no connection is held while a guess waits for its turn
    with ExitStack() as stack:
        for limit, key in limits:
            stack.enter_context(limit.try_once(key, failure=Unauthorized))
        right = check_password(stored, password)
        # a password that was changed while this guess waited is not the password any more
        if not right or user is None or not user.is_active or user.password_hash != stored:
            current_app.logger.warning("sign-in failed", extra={"account": account if user else "unknown"})
            raise Unauthorized("The name or the password is not right.")
    if user.confirmed_at is None:
        raise Forbidden("Confirm your address first: open the mail that we sent you.")
    return user


def verify_own(user: User, password: str) -> None:
    """Check the password of somebody who is signed in. Raises ValidationFailed, RateLimited, Unavailable."""
    account, stored = f"id {user.id}", user.password_hash
    release()
    with WRONG_BY_ACCOUNT.try_once(account, failure=ValidationFailed):
        if not check_password(stored, password):
            raise ValidationFailed({"current": ["This is not your present password."]})


def remail_confirmation(user: User) -> None:
    """Mail a new confirmation address to somebody who proved the password, within the limit."""
    try:
        MAIL_BY_ACCOUNT.spend(user.email_key)
    except RateLimited:
        return
    mail_confirmation(user)


# --- passwords ---------------------------------------------------------------------------------------------------


def ask_reset(email: str, address: str) -> None:
    """Queue a reset mail; the same work and answer whether the address is known or not. Raises RateLimited."""
    RESET_BY_ADDRESS.spend(address)
    MAIL_BY_ACCOUNT.spend(email.strip().casefold()[:254])
    enqueue("auth.reset", email=email.strip()[:254])


def mail_reset(email: str) -> None:
    """Task: mail a reset address, if somebody has this e-mail address; it withdraws the older one."""
    with atomic():
        user = user_by_email(email)
        if user is None or not user.is_active:
            return
        token = tokens.issue("reset", user, RESET_LIFE)
        send_mail(user.email, "Set a new password", "auth/mail/reset.txt", user=user, token=token)


def reset_password(token: str, password_hash: str) -> User:
    """Spend a reset token and set the password. Raises Gone. Signs nobody in, and everybody else out."""
    user = tokens.spend("reset", token)
    assert user is not None
    user.confirmed_at = user.confirmed_at or now()
    set_password(user, password_hash)
    return user


def set_password(user: User, password_hash: str) -> None:
    """Change the password: all sessions, tokens and open sockets end, and the member is told by mail."""
    user.password_hash = password_hash
    tokens.withdraw("reset", user)
    end_everywhere(user)
    send_mail(user.email, "Your password was changed", "auth/mail/changed.txt", user=user)
    current_app.logger.info("password changed", extra={"user": user.username})


def new_password_hash(password: str, field: str = "password") -> str:
    """Hash an acceptable password, outside any transaction. Raises ValidationFailed."""
    objected = objection(password)
    if objected:
        raise ValidationFailed({field: [objected]})
    return hash_password(password)


# --- the account -------------------------------------------------------------------------------------------------


def update_details(actor: User, name: str, about: str) -> None:
    """Change the shown name and the words about oneself."""
    if unprintable(name) or unprintable(about, lines=True):
        raise ValidationFailed({"name": ["This holds characters that cannot be shown."]})
    actor.name, actor.about = name.strip()[:80], about.strip()[:500]


def end_session(actor: User, row_id: int) -> None:
    """End one session of one's own. Raises NotFound."""
    if not end_sessions(actor, only=row_id):
        raise NotFound()
    cut_connections(session_id=row_id)


def end_everywhere(actor: User) -> None:
    """End all sessions and access tokens of a member; API keys stay."""
    actor.login_id = rotated_login_id()
    end_sessions(actor)
    cut_connections(user_id=actor.id)


def disable(user: User) -> None:
    """Take a member's access away at once: sessions, tokens, sockets; keys and links are refused while disabled."""
    user.disabled_at = user.disabled_at or now()
    end_everywhere(user)
    current_app.logger.warning("account disabled", extra={"user": user.username})


def enable(user: User) -> None:
    """Give access back."""
    user.disabled_at = None
    current_app.logger.warning("account enabled", extra={"user": user.username})


def set_role(user: User, role: Role) -> None:
    """Change the role; it holds from the next request on."""
    user.role = role.value
    if role is Role.ADMIN:
        tokens.withdraw("setup", None)
    current_app.logger.warning("role changed", extra={"user": user.username, "role": role.value})


def delete_user(user: User) -> None:
    """Delete a member: features remove what is theirs by the capability `member_leaves`; messages stay, without a name."""
    for leave in registry().capability("member_leaves").values():
        leave(user)
    cut_connections(user_id=user.id)
    db.session.flush()
    db.session.delete(user)
    current_app.logger.warning("account deleted", extra={"user": user.username})


def purge_unconfirmed() -> None:
    """Task: free the names of those who never confirmed."""
    with atomic():
        for user in db.session.scalars(
            select(User).where(User.confirmed_at.is_(None), User.created_at < now() - 2 * CONFIRM_LIFE)
        ):
            db.session.delete(user)
