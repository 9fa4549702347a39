"""The maker's pages of links. The recipient's are in `recipient`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from math import ceil
from typing import Any

import segno
from flask import Blueprint, current_app, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user
from markupsafe import Markup
from wtforms import SelectChoice

from microsite.core import clock
from microsite.core.access import requires
from microsite.core.db import atomic
from microsite.core.exceptions import Conflict, NotFound, RateLimited, Unavailable, ValidationFailed
from microsite.core.identity import Role
from microsite.core.pages import absolute, for_seconds
from microsite.core.paging import neighbours
from microsite.core.passwords import hash_password

from . import mailing, queries, services, webhooks
from .forms import (
    DATE,
    ENDINGS,
    LIVES,
    USES,
    ChangeLink,
    Confirm,
    LinkTerms,
    NewInvitation,
    NewLink,
    NewUploadRequest,
)
from .models import Link, State
from .policies import link_for, reported_link
from .queries import provider
from .services import Terms, UploadRequest

bp = Blueprint(
    "links",
    __name__,
    template_folder="templates",
    static_folder="static/links",
    static_url_path="/static/links",
)
BULK_MAX = 100


def share_action() -> dict[str, str] | None:
    """What other features offer beside their things."""
    if not current_user.may("links:use"):
        return None
    return {"label": "Share", "icon": "link-45deg", "url": url_for("links.new")}


# --- lists -------------------------------------------------------------------------------------------------------


@bp.get("/links/")
@requires("links:use")
def index() -> ResponseReturnValue:
    """List the member's links with their state."""
    page = queries.links_of(current_user, current_app.config["PAGE_SIZE"], request.args.get("cursor"))
    items = queries.items_of_all(page.items)
    return render_template(
        "links/index.html", links=page.items, base=url_for("links.index"), down=queries.taken_down(page.items),
        called={link.id: queries.called(link, items[link.id]) for link in page.items},
        states={link.id: queries.state_of(link, items[link.id]) for link in page.items},
        beside=neighbours(page, url_for("links.index")),
        soon=soon(), form=Confirm(),
        reports=queries.count_reported() if current_user.may("links:moderate") else 0,
    )  # fmt: skip


def soon() -> float:
    """What ends before this, in seconds since 1970, ends soon."""
    return clock.now().timestamp() + 3600


@bp.post("/links/selected")
@requires("links:use")
def change_selected() -> ResponseReturnValue:
    """Withdraw or delete the links that were chosen."""
    chosen = request.form.getlist("link")[:BULK_MAX]
    if not chosen:
        flash("No link was chosen.", "warning")
        return redirect(url_for("links.index"), 303)
    action = "delete" if request.form.get("action") == "delete" else "revoke"
    if request.form.get("sure") != "yes":
        links = [link_for(current_user, public_id) for public_id in chosen]
        items = queries.items_of_all(links)
        called = {link.id: queries.called(link, items[link.id]) for link in links}
        return render_template(
            "links/selected.html", links=links, action=action, form=Confirm(), called=called
        )
    done, kept = 0, []
    with atomic():
        for public_id in chosen:
            link = link_for(current_user, public_id)
            if action == "revoke" and link.state_at(clock.now()) is not State.OPEN:
                continue  # it is over already, in a way that its history tells better
            if action == "delete" and services.is_reported(link):
                kept.append(queries.called(link, queries.items_of(link)))
                continue
            (services.delete_link if action == "delete" else services.revoke)(link)
            done += 1
    if kept:
        flash(f"{', '.join(kept)}: {services.REPORTED}", "warning")
    word = "deleted" if action == "delete" else "withdrawn"
    flash(f"{done or 'No'} link{' is' if done == 1 else 's are'} {word}.", "success" if done else "info")
    return redirect(url_for("links.index"), 303)


# --- making ------------------------------------------------------------------------------------------------------


@bp.get("/links/new")
@requires("links:use")
def new() -> ResponseReturnValue:
    """Show the form for a new link, to the files that were chosen or to a note."""
    return _new_page(NewLink(formdata=None, expires_in=usual_life()), request.args.getlist("file"))


def usual_life() -> str:
    """The life that a link gets where nobody says otherwise, in seconds."""
    return str(int(services.life_of(None).total_seconds()))


def _new_page(form: NewLink, chosen: list[str], status: int = 200) -> tuple[str, int]:
    answering = provider("files")
    items = answering.own(current_user, chosen[:100]) if answering and chosen else []
    if chosen and not items:
        raise NotFound("What you chose to share was deleted meanwhile.")
    offer_choices(form)
    if status != 200:
        form.ask_password_again()
    return render_template("links/new.html", form=form, items=items), status


def offer_choices(form: LinkTerms) -> None:
    """Offer what the operator's ceilings allow."""
    longest = int(current_app.config["LINK_EXPIRY_MAX"].total_seconds())
    lives = {int(life.value): life.label for life in LIVES if int(life.value) <= longest}
    usual = int(usual_life())
    lives.setdefault(usual, for_seconds(usual))
    choices = [SelectChoice(str(seconds), lives[seconds]) for seconds in sorted(lives)]
    form.expires_in.choices = [*choices, SelectChoice(DATE, "a date")]
    most = current_app.config["LINK_USES_MAX"]
    if most is not None:
        form.max_uses.choices = [uses for uses in USES if uses.value and int(uses.value) <= most]
    form.shorten_to.choices = [end for end in ENDINGS if not end.value or int(end.value) <= longest]


def terms_of(form: LinkTerms) -> Terms:
    """The terms that a form asks for; hashes its password, so not inside `atomic()`. Raises ValidationFailed."""
    if form.expires_in.data == DATE:
        if form.expires_at.data is None:
            raise ValidationFailed({"expires_at": ["Choose the date and time at which it ends."]})
        expires_in = ceil((form.expires_at.data.replace(tzinfo=UTC) - clock.now()).total_seconds())
        if expires_in < 1:
            raise ValidationFailed({"expires_at": ["That time is past already."]})
        longest = int(current_app.config["LINK_EXPIRY_MAX"].total_seconds())
        if expires_in > longest:
            raise ValidationFailed({"expires_at": [f"A link lives up to {longest // 86400} days here."]})
    else:
        expires_in = int(form.expires_in.data)
    return Terms(
        expires_in=expires_in, max_uses=int(form.max_uses.data) if form.max_uses.data else None,
        password_hash=hash_password(form.password.data) if form.password.data else None, title=form.title.data or "",
        note=form.note.data or "", notify=form.notify.data, show_items=form.show_items.data, hold=form.hold.data,
        shorten_to=int(form.shorten_to.data) if form.shorten_to.data else None, name=(form.name.data or "").strip() or None,
        webhook=(form.webhook.data or "").strip() or None,
    )  # fmt: skip


@bp.post("/links/")
@requires("links:use")
def create() -> ResponseReturnValue:
    """Make the link and show its address, this once."""
    form = NewLink()
    files = request.form.getlist("file")
    offer_choices(form)
    if not form.validate():
        return _new_page(form, files, 422)
    try:
        if not files and not (form.text.data or "").strip():
            raise ValidationFailed({"text": ["Write a note, or choose files to share."]})
        return _made(form, files=files or None, text=None if files else form.text.data)
    except (ValidationFailed, RateLimited, Unavailable) as refused:
        form.refuse(refused)
        return *_new_page(form, files, form.status), form.headers


@bp.route("/links/ask", methods=["GET", "POST"])
@requires("links:use")
def ask_for_files() -> ResponseReturnValue:
    """Make an upload request."""
    form = NewUploadRequest(max_uses="5", expires_in="604800", notify=True)
    offer_choices(form)
    if form.validate_on_submit():
        try:
            types = tuple((form.types.data or "").replace(",", " ").split())
            size = int(form.max_size.data) if form.max_size.data else None
            return _made(
                form, upload=UploadRequest(max_files=form.max_files.data, max_size=size, types=types)
            )
        except (ValidationFailed, RateLimited, Unavailable) as refused:
            form.refuse(refused)
    form.ask_password_again()
    return render_template("links/ask.html", form=form), form.status, form.headers


@bp.route("/links/invite", methods=["GET", "POST"])
@requires("links:invite")
def invite() -> ResponseReturnValue:
    """Make an invitation."""
    form = NewInvitation(expires_in="604800", role=Role.MEMBER.value)
    offer_choices(form)
    own = Role(current_user.role).rank
    form.role.choices = [SelectChoice(role.value, role.value) for role in Role if role.rank <= own]
    form.max_uses.choices = [SelectChoice("1", "once")]
    form.max_uses.data = "1"
    if form.validate_on_submit():
        try:
            return _made(form, role=Role(form.role.data), people=form.people.data)
        except (ValidationFailed, RateLimited, Unavailable) as refused:
            form.refuse(refused)
    return render_template("links/invite.html", form=form), form.status, form.headers


def _made(form: LinkTerms, *, people: int | None = None, **thing: Any) -> ResponseReturnValue:
    """Make one link, or one for each recipient, and show their addresses. Raises ValidationFailed."""
    addresses = mailing.checked_addresses(form.recipients.data or "")
    terms = terms_of(form)
    if people is not None:
        terms = replace(terms, max_uses=people)
    if addresses and terms.name:
        raise ValidationFailed({"name": ["A public name is for everybody; leave the addresses out."]})
    if mailing.can_send():
        mailing.spend(current_user, addresses)
    with atomic():
        made = []
        for address in addresses or [""]:
            link, token = services.create_link(current_user, terms, recipient=address, **thing)
            made.append((link, link_url(token)))
            if address and mailing.can_send():
                mailing.send(link, link_url(token), address)
    return made_page(made), 201


def made_page(made: list[tuple[Link, str]]) -> str:
    """The page that shows new links, this once."""
    return render_template(
        "links/made.html", made=made, link=made[0][0], url=made[0][1], can_send=mailing.can_send(),
        code=qr_code(made[0][1]), messages=[mailing.message(link, url) for link, url in made],
    )  # fmt: skip


def qr_code(url: str) -> Markup:
    """The QR code (ISO/IEC 18004) of an address as an SVG element."""
    drawn = segno.make(url, error="m").svg_inline(scale=4, border=4, dark="#000", light="#fff", omitsize=True)
    return Markup(drawn)  # noqa: S704 - paths that a library drew; no text of anybody is in them


def link_url(token: str) -> str:
    return absolute(url_for("links.open_link", token=token))


# --- one link ----------------------------------------------------------------------------------------------------


@bp.get("/links/<link_id>")
@requires("links:use")
def show(link_id: str) -> ResponseReturnValue:
    """Show what a link hands out, its state, and what happened to it."""
    return _show(link_for(current_user, link_id), ChangeLink(formdata=None))


def _show(link: Link, change: ChangeLink, status: int = 200) -> ResponseReturnValue:
    items = queries.items_of(link)
    longest = int(current_app.config["LINK_EXPIRY_MAX"].total_seconds())
    left = (link.expires_at - clock.now()).total_seconds()
    lives = [life for life in LIVES if int(life.value) <= longest]
    change.expires_in.choices = [SelectChoice(life.value, f"{life.label} from now") for life in lives]
    if not change.is_submitted():  # the first that is no earlier end than the present one
        change.expires_in.data = next(
            (life.value for life in lives if int(life.value) > left), lives[-1].value if lives else None
        )
    page = queries.events_of(link, current_app.config["PAGE_SIZE"], request.args.get("cursor"))
    return render_template(
        "links/show.html", link=link, items=items, state=queries.state_of(link, items), events=page.items,
        beside=neighbours(page, url_for("links.show", link_id=link.public_id)),
        form=Confirm(), change=change, url=link_url(link.name) if link.name and link.state_at(clock.now()) is State.OPEN else None,
        called=queries.called(link, items), soon=soon(), down=bool(queries.taken_down([link])), pages=queries.pages_of(link), webhook_secret=webhooks.secret_of(link) if link.webhook else None,
    ), status  # fmt: skip


@bp.post("/links/<link_id>/extend")
@requires("links:use")
def extend(link_id: str) -> ResponseReturnValue:
    """Give an open link another end."""
    link = link_for(current_user, link_id)
    form = ChangeLink()
    form.expires_in.choices = LIVES
    try:
        if not form.validate():
            return _show(link, form, 422)
        with atomic():
            services.change_link(link_for(current_user, link_id), expires_in=int(form.expires_in.data))
    except (ValidationFailed, Conflict) as refused:
        form.expires_in.errors = [refused.detail]
        return _show(link_for(current_user, link_id), form, refused.status)
    flash("The link has its new end.", "success")
    return redirect(url_for("links.show", link_id=link_id), 303)


@bp.post("/links/<link_id>/notify")
@requires("links:use")
def notify(link_id: str) -> ResponseReturnValue:
    """Be told of openings, or no longer."""
    with atomic():
        link = link_for(current_user, link_id)
        services.change_link(link, notify=not link.notify)
        told = link.notify
    flash(
        "You are told when it is opened." if told else "You are no longer told when it is opened.", "success"
    )
    return redirect(url_for("links.show", link_id=link_id), 303)


@bp.post("/links/<link_id>/revoke")
@requires("links:use")
def revoke(link_id: str) -> ResponseReturnValue:
    """Withdraw a link."""
    with atomic():
        services.revoke(link_for(current_user, link_id))
    flash("The link is withdrawn. It no longer opens.", "success")
    return redirect(url_for("links.show", link_id=link_id), 303)


@bp.post("/links/<link_id>/delete")
@requires("links:use")
def delete(link_id: str) -> ResponseReturnValue:
    """Delete a link with its history."""
    try:
        with atomic():
            services.delete_link(link_for(current_user, link_id))
    except Conflict as refused:
        flash(refused.detail, "error")
        return redirect(url_for("links.show", link_id=link_id), 303)
    flash("The link is deleted.", "success")
    return redirect(url_for("links.index"), 303)


# --- what was reported -------------------------------------------------------------------------------------------


@bp.get("/links/reported")
@requires("links:moderate")
def reported() -> ResponseReturnValue:
    """List the links that recipients reported."""
    return render_template("links/reported.html", found=queries.reported(), form=Confirm())


@bp.post("/links/reported/<link_id>")
@requires("links:moderate")
def settle(link_id: str) -> ResponseReturnValue:
    """Take a reported link down, or leave it."""
    down = request.form.get("action") == "down"
    with atomic():
        link = reported_link(link_id)
        if down:
            services.take_down(link)
        else:
            services.settle_reports(link)
    flash("The link is taken down." if down else "The report is settled; the link stays.", "success")
    return redirect(url_for("links.reported"), 303)
