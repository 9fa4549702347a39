"""Pages of registering, signing in and the account."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app, flash, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from microsite.core import sessions, tokens, unsent
from microsite.core.access import public, signed_in
from microsite.core.db import atomic
from microsite.core.exceptions import (
    DomainError,
    Forbidden,
    Gone,
    RateLimited,
    Unauthorized,
    Unavailable,
    ValidationFailed,
)
from microsite.core.feature import registry
from microsite.core.identity import Role
from microsite.core.passwords import same_password
from microsite.core.sharing import Invitations
from microsite.core.throttle import address_key

from . import credentials, devices, services
from .forms import AskReset, ChangePassword, Confirm, Details, NewKey, NewPassword, Register, SignIn

bp = Blueprint(
    "auth", __name__, template_folder="templates", static_folder="static/auth", static_url_path="/static/auth"
)


def safe_next() -> str:
    """Where to go after signing in: a path of this site, or the home page."""
    target = request.args.get("next", "")
    inside = target.startswith("/") and not target.startswith("//") and "\\" not in target
    return target if inside and all(" " < c < "\x7f" for c in target) else url_for("home")


def visitor() -> str:
    """The address that limits count by."""
    return address_key(sessions.client_address())


@bp.get("/auth/username")
@public
def username() -> ResponseReturnValue:
    """Say whether a name is free, for the live check while typing."""
    available, message = services.name_message(request.args.get("username", ""))
    return jsonify(available=available, message=message)


@bp.route("/auth/register", methods=["GET", "POST"])
@public
def register() -> ResponseReturnValue:
    """Register a new member."""
    token = request.args.get("invitation")
    if current_user.is_authenticated:
        if token:
            flash("You are a member here already. The invitation is not used.", "info")
        return redirect(url_for("home"), 303)
    by_invitation = token is not None and current_app.config["REGISTRATION"] != "closed"
    invited = None
    if by_invitation:
        invited = _invitations().role(token or "")
    elif current_app.config["REGISTRATION"] != "open":
        return render_template("auth/closed.html"), 403
    form = Register()
    if form.is_submitted():
        try:
            return _register(form, token if by_invitation else None)
        except (ValidationFailed, RateLimited, Unavailable) as refused:
            form.refuse(refused)
    return render_template("auth/register.html", form=form, invited=invited), form.status, form.headers


def _invitations() -> Invitations:
    """Who knows invitations. Raises Gone while no feature does."""
    found: Invitations | None = next(iter(registry().capability("invitations").values()), None)
    if found is None:
        raise Gone("There are no invitations here now.")
    return found


def _register(form: Register, invitation: str | None) -> ResponseReturnValue:
    """Check everything at once, then write. Raises ValidationFailed, RateLimited, Gone."""
    valid = form.validate()
    name, password = form.username.data or "", form.password.data or ""
    email = services.check_new_account(name, form.email.data or "", password)
    if not valid:
        raise ValidationFailed({})
    services.REGISTER_BY_ADDRESS.spend(visitor())
    hashed = services.new_password_hash(password)

    def invited() -> Role:
        agent = request.user_agent.string
        return _invitations().spend(invitation or "", sessions.client_address(), agent, name)

    with atomic():
        user = services.register(name, email, hashed, *([invited] if invitation is not None else []))
    if user is None:
        flash("Open the mail that we sent you to go on.", "success")
        return redirect(url_for("auth.login"), 303)
    sessions.begin(user)
    flash(f"Welcome, {user.username}.", "success")
    return devices.remember(redirect(url_for("home"), 303), user)


@bp.route("/auth/login", methods=["GET", "POST"])
@public
def login() -> ResponseReturnValue:
    """Sign in by name or e-mail address, and go on to the page that was asked for."""
    if current_user.is_authenticated:
        return redirect(safe_next(), 303)
    form = SignIn()
    if form.validate_on_submit():
        try:
            given = (form.username.data, form.password.data)
            user = services.verify(*given, visitor(), devices.presented())
            sessions.begin(user, remember=form.remember.data)
            current_app.logger.info("signed in", extra={"user": user.username})
            target = unsent.hand_over(form.unsent.data or "", user) or safe_next()
            return devices.remember(redirect(target, 303), user)
        except (Unauthorized, RateLimited, Unavailable, Forbidden) as refused:
            form.refuse(refused)
            _offer_confirmation(form, refused)
    ended = request.args.get("ended") if request.args.get("ended") in ("idle", "absolute") else None
    return render_template("auth/login.html", form=form, ended=ended), form.status, form.headers


def sign_in_again(kept: str | None, page: str) -> ResponseReturnValue:
    """The sign-in page for a form that was posted after its session's end; `kept` is its sealed text."""
    form = SignIn(formdata=None, unsent=kept)
    sentence = unsent.KEPT if kept else unsent.NOT_KEPT
    return render_template("auth/login.html", form=form, again=sentence, next=page), 401


def _offer_confirmation(form: SignIn, refused: DomainError) -> None:
    """Mail a new confirmation address to whoever proved the password of an unconfirmed account."""
    user = services.find_user(form.username.data) if isinstance(refused, Forbidden) else None
    if user is not None:
        with atomic():
            services.remail_confirmation(user)


@bp.post("/auth/logout")
@signed_in
def logout() -> ResponseReturnValue:
    """End this session on the server."""
    from microsite.core.realtime import cut_now

    row_id = sessions.current_row_id()
    current_app.logger.info("signed out", extra={"user": current_user.username})
    sessions.sign_out()
    cut_now(session_id=row_id)
    response = redirect(url_for("home"), 303)
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


@bp.route("/auth/confirm/<token>", methods=["GET", "POST"])
@public
def confirm(token: str) -> ResponseReturnValue:
    """Confirm an e-mail address: GET shows the button, POST spends the token."""
    tokens.look("confirm", token)
    if request.method == "POST":
        with atomic():
            services.confirm(token)
        flash("Your address is confirmed. Sign in now.", "success")
        return redirect(url_for("auth.login"), 303)
    return render_template("auth/confirm.html", form=Confirm())


@bp.route("/auth/reset", methods=["GET", "POST"])
@public
def ask_reset() -> ResponseReturnValue:
    """Ask for a mail that lets one set a new password."""
    form = AskReset()
    if form.validate_on_submit():
        try:
            with atomic():
                services.ask_reset(form.email.data, visitor())
        except RateLimited as refused:
            form.refuse(refused)
        else:
            flash(
                "If somebody here has this address, a mail is on its way. It works for 30 minutes.", "success"
            )
            return redirect(url_for("auth.login"), 303)
    return render_template("auth/ask_reset.html", form=form), form.status, form.headers


@bp.route("/auth/reset/<token>", methods=["GET", "POST"])
@public
def reset(token: str) -> ResponseReturnValue:
    """Set a new password: GET shows the form, POST spends the token."""
    tokens.look("reset", token)
    form = NewPassword()
    if form.validate_on_submit():
        try:
            hashed = services.new_password_hash(form.password.data)
        except (ValidationFailed, Unavailable) as refused:
            form.refuse(refused)
        else:
            with atomic():
                services.reset_password(token, hashed)
            flash("Your new password is set. Sign in with it.", "success")
            return redirect(url_for("auth.login"), 303)
    return render_template("auth/reset.html", form=form), form.status, form.headers


@bp.route("/auth/setup/<token>", methods=["GET", "POST"])
@public
def set_up(token: str) -> ResponseReturnValue:
    """Make the first administrator: GET shows the form, POST spends the token."""
    tokens.look("setup", token)
    form = Register()
    if form.is_submitted():
        valid = form.validate()
        name, password = form.username.data or "", form.password.data or ""
        try:
            email = services.check_new_account(name, form.email.data or "", password, reserved_too=True)
            if not valid:
                raise ValidationFailed({})
            hashed = services.new_password_hash(password)
            with atomic():
                user = services.set_up(token, name, email, hashed)
        except (ValidationFailed, Unavailable) as refused:
            form.refuse(refused)
        else:
            sessions.begin(user)
            flash("This site is yours. Now the others can register.", "success")
            return redirect(url_for("home"), 303)
    return render_template("auth/setup.html", form=form), form.status, form.headers


# --- the account -------------------------------------------------------------------------------------------------


def _account(status: int = 200, key: str | None = None, **forms: Any) -> tuple[str, int]:
    details = forms.get("details") or Details(obj=current_user, formdata=None)
    page = render_template(
        "auth/account.html", details=details, password=forms.get("password") or ChangePassword(formdata=None),
        new_key=forms.get("new_key") or NewKey(formdata=None), key=key, keys=credentials.keys_of(current_user),
        rows=sessions.sessions_of(current_user), here=sessions.current_row_id(), recent=sessions.is_recent(),
    )  # fmt: skip
    return page, status


@bp.get("/account/")
@signed_in
def account() -> ResponseReturnValue:
    """Show details, password, sessions and API keys."""
    return _account()


@bp.post("/account/details")
@signed_in
def details() -> ResponseReturnValue:
    """Change the shown name and the words about oneself."""
    form = Details()
    if not form.validate():
        return _account(422, details=form)
    with atomic():
        services.update_details(current_user, form.name.data or "", form.about.data or "")
    flash("Your details are saved.", "success")
    return redirect(url_for("auth.account"), 303)


@bp.post("/account/password")
@signed_in
def password() -> ResponseReturnValue:
    """Change the password; every other session ends."""
    form = ChangePassword()
    try:
        if not form.validate():
            return _account(422, password=form)
        services.verify_own(current_user, form.current.data)
        if same_password(form.current.data, form.password.data):
            raise ValidationFailed({"password": ["This is your present password."]})
        hashed = services.new_password_hash(form.password.data)
    except (ValidationFailed, RateLimited, Unavailable) as refused:
        form.refuse(refused)
        return *_account(form.status, password=form), form.headers
    user = current_user._get_current_object()
    with atomic():
        services.set_password(user, hashed)
    sessions.begin(user)
    flash("Your password is changed. Every other session was signed out.", "success")
    return devices.remember(redirect(url_for("auth.account"), 303), user)


@bp.post("/account/sessions/<int(max=2147483647):row_id>/end")
@signed_in
def end_session(row_id: int) -> ResponseReturnValue:
    """Sign one session out."""
    with atomic():
        services.end_session(current_user, row_id)
    flash("That session is signed out.", "success")
    return redirect(url_for("auth.account"), 303)


@bp.post("/account/sessions/end")
@signed_in
def end_everywhere() -> ResponseReturnValue:
    """Sign out everywhere, here too; with the API keys, when that is asked for."""
    user = current_user._get_current_object()
    with atomic():
        services.end_everywhere(user)
        if "keys" in request.form:
            credentials.delete_keys(user)
    sessions.sign_out()
    flash("You are signed out everywhere.", "success")
    return redirect(url_for("auth.login"), 303)


@bp.post("/account/keys")
@signed_in
def create_key() -> ResponseReturnValue:
    """Make an API key and show it once."""
    form = NewKey()
    if not form.validate():
        return _account(422, new_key=form)
    try:
        if not sessions.is_recent():
            services.verify_own(current_user, form.current.data or "")
        with atomic():
            secret, _ = credentials.create_key(
                current_user,
                form.name.data,
                None,
                int(form.expires_in.data) if form.expires_in.data else None,
            )
    except (ValidationFailed, RateLimited, Unavailable) as refused:
        form.refuse(refused)
        return *_account(form.status, new_key=form), form.headers
    return _account(201, key=secret)


@bp.post("/account/keys/<key_id>/delete")
@signed_in
def delete_key(key_id: str) -> ResponseReturnValue:
    """Delete an API key."""
    with atomic():
        credentials.delete_key(current_user, key_id)
    flash("The key is deleted. Whatever used it is refused now.", "success")
    return redirect(url_for("auth.account"), 303)
