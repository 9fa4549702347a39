"""Pages of links: the maker's, and the recipient's."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user
from wtforms import SelectChoice

from microsite.core import clock
from microsite.core.access import public, requires, wants_json, without_csrf
from microsite.core.db import atomic, db, writes_on_get
from microsite.core.exceptions import Forbidden, RateLimited, Unauthorized, ValidationFailed
from microsite.core.identity import User
from microsite.core.pages import absolute
from microsite.core.passwords import hash_password
from microsite.core.sessions import client_address

from . import queries, services
from .forms import LIVES, USES, NewLink, OpenLink, Revoke
from .models import Link
from .opening import json_body, opened_json
from .policies import link_for
from .queries import provider

bp = Blueprint(
    "links",
    __name__,
    template_folder="templates",
    static_folder="static/links",
    static_url_path="/static/links",
)


def share_action() -> dict[str, str] | None:
    """What other features offer beside their things."""
    if not current_user.may("links:use"):
        return None
    return {"label": "Share", "icon": "link-45deg", "url": url_for("links.new")}


def visitor() -> services.Visitor:
    return services.Visitor(client_address(), request.user_agent.string)


@bp.after_app_request  # also where no view of ours answers: 405, a refused host
def keep_private(response: Response) -> Response:
    """Nothing under a link is stored, indexed, or told to other sites."""
    if request.path.startswith("/l/"):
        response.headers["Cache-Control"] = "no-store"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response


# --- the maker's pages -------------------------------------------------------------------------------------------


@bp.get("/links/")
@requires("links:use")
def index() -> ResponseReturnValue:
    """List the member's links with their state."""
    page = queries.links_of(current_user, current_app.config["PAGE_SIZE"], request.args.get("cursor"))
    items = {link.id: queries.items_of(link) for link in page.items}
    states = {link.id: queries.state_of(link, items[link.id]) for link in page.items}
    older = url_for("links.index", cursor=page.next_cursor) if page.next_cursor else None
    opened = queries.first_opened(list(page.items))
    soon = clock.now().timestamp() + 3600
    return render_template(
        "links/index.html",
        links=page.items,
        items=items,
        states=states,
        opened=opened,
        older=older,
        soon=soon,
        base=url_for("links.index"),
    )


@bp.get("/links/new")
@requires("links:use")
def new() -> ResponseReturnValue:
    """Show the form for a new link, to the files that were chosen or to a note."""
    return _new_page(NewLink(formdata=None), request.args.getlist("file"))


def _new_page(form: NewLink, chosen: list[str], status: int = 200) -> ResponseReturnValue:
    answering = provider("files")
    items = answering.own(current_user, chosen[:100]) if answering and chosen else []
    _offer_choices(form)
    return render_template("links/new.html", form=form, items=items), status


def _offer_choices(form: NewLink) -> None:
    """Offer what the operator's ceilings allow."""
    longest = int(current_app.config["LINK_EXPIRY_MAX"].total_seconds())
    lives = [life for life in LIVES if int(life.value) <= longest]
    form.expires_in.choices = lives or [SelectChoice(str(longest), "as long as possible")]
    most = current_app.config["LINK_USES_MAX"]
    if most is not None:
        form.max_uses.choices = [uses for uses in USES if uses.value and int(uses.value) <= most]


@bp.post("/links/")
@requires("links:use")
def create() -> ResponseReturnValue:
    """Make the link and show its address, this once."""
    form = NewLink()
    files = request.form.getlist("file")
    _offer_choices(form)
    if not form.validate():
        return _new_page(form, files, 422)
    if not files and not (form.text.data or "").strip():
        form.refuse(ValidationFailed({"text": ["Write a note, or choose files to share."]}))
        return _new_page(form, files, 422)
    hashed = hash_password(form.password.data) if form.password.data else None
    try:
        with atomic():
            link, token = services.create_link(
                current_user, files=files or None, text=None if files else form.text.data, expires_in=int(form.expires_in.data),
                max_uses=int(form.max_uses.data) if form.max_uses.data else None, password_hash=hashed,
                title=form.title.data or "", note=form.note.data or "",
            )  # fmt: skip
    except ValidationFailed as refused:
        form.refuse(refused)
        return _new_page(form, files, 422)
    return render_template(
        "links/made.html", link=link, url=link_url(token), items=queries.items_of(link)
    ), 201


def link_url(token: str) -> str:
    return absolute(url_for("links.open_link", token=token))


@bp.get("/links/<link_id>")
@requires("links:use")
def show(link_id: str) -> ResponseReturnValue:
    """Show what a link hands out, its state, and what happened to it."""
    link = link_for(current_user, link_id)
    items = queries.items_of(link)
    events = queries.events_of(link, 100, None).items
    state = queries.state_of(link, items)
    return render_template(
        "links/show.html", link=link, items=items, state=state, events=events, form=Revoke()
    )


@bp.post("/links/<link_id>/revoke")
@requires("links:use")
def revoke(link_id: str) -> ResponseReturnValue:
    """Withdraw a link."""
    with atomic():
        services.revoke(link_for(current_user, link_id))
    flash("The link is withdrawn. It no longer opens.", "success")
    return redirect(url_for("links.show", link_id=link_id), 303)


# --- the recipient's pages ---------------------------------------------------------------------------------------


@bp.get("/l/<rest:token>", merge_slashes=False)
@public
@writes_on_get("one page_opened for each link, address and hour")
def open_link(token: str) -> ResponseReturnValue:
    """Say who sends something and what opening it does; spends nothing."""
    link = services.find_open(token)
    if request.method == "GET" and link.owner_id != current_user.id:
        services.record_page(link, visitor())
    if wants_json():
        return {"has_password": link.password_hash is not None}
    return _recipient_page(link, OpenLink(formdata=None))


def _recipient_page(link: Link, form: OpenLink) -> str:
    return render_template(
        "links/open.html", link=link, sender=db.session.get(User, link.owner_id), form=form
    )


@bp.post("/l/<rest:token>", merge_slashes=False)
@public
@without_csrf("knowing the address is the right to open it, and no session is used or made")
def claim(token: str) -> ResponseReturnValue:
    """Open the link: check the password, spend a use, and hand out a ticket."""
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        raise Forbidden(
            "This link was not opened from its own page. Open its address and press the button there."
        )
    as_json = wants_json()
    password = json_body() if as_json else request.form.get("password")
    link = services.find_open(token)
    try:
        services.check_link_password(link, password, visitor())
    except (Unauthorized, RateLimited) as refused:
        if as_json:
            raise
        form = OpenLink()
        form.password.errors = [refused.detail]
        return _recipient_page(services.find_open(token), form), refused.status, refused.headers
    with atomic():
        opened = services.claim(token, visitor())
        answer: Any = opened_json(opened) if as_json else None
    return answer if as_json else redirect(url_for("links.opened", ticket=opened.ticket), 303)


@bp.get("/l/t/<ticket>")
@public
def opened(ticket: str) -> ResponseReturnValue:
    """Show what was opened, for as long as the ticket lives."""
    found = services.by_ticket(ticket)
    return render_template(
        "links/opened.html", opened=found, link=found.link, sender=db.session.get(User, found.link.owner_id)
    )


@bp.get("/l/t/<ticket>/<item_id>")
@public
@writes_on_get("the maker is told of each download")
def download(ticket: str, item_id: str) -> ResponseReturnValue:
    """Give the bytes of one thing; Range works and costs no further use."""
    asked = request.range
    first_read = request.method == "GET" and (asked is None or any(start == 0 for start, _ in asked.ranges))
    return services.send_item(ticket, item_id, visitor(), first_read=first_read)
