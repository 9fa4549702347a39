"""Pages of chat."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from microsite.core.access import requires
from microsite.core.db import atomic
from microsite.core.exceptions import NotFound, ValidationFailed

from . import queries, services
from .forms import Confirm, OpenDirect
from .policies import room_for

bp = Blueprint(
    "chat", __name__, template_folder="templates", static_folder="static/chat", static_url_path="/static/chat"
)
ROOMS_SHOWN = 100


def _page(form: OpenDirect, room_id: str | None = None, status: int = 200) -> ResponseReturnValue:
    views = queries.views_of(queries.active_rooms(current_user, ROOMS_SHOWN), current_user)
    here = None
    if room_id is not None:
        here = queries.views_of([room_for(current_user, room_id)], current_user)[0]
    return render_template(
        "chat/index.html", rooms=views, here=here, form=form, base=url_for("chat.index")
    ), status


@bp.get("/chat/")
@requires("chat:use")
def index() -> ResponseReturnValue:
    """List the member's rooms, the latest first."""
    return _page(OpenDirect(formdata=None))


@bp.post("/chat/")
@requires("rooms:create")
def start() -> ResponseReturnValue:
    """Open the direct room with the member that was named."""
    form = OpenDirect()
    if form.validate():
        try:
            return _open(form.username.data)
        except ValidationFailed as refused:
            form.refuse(ValidationFailed({"username": refused.errors["with"]}))
    return _page(form, status=422)


def _open(username: str) -> ResponseReturnValue:
    with atomic():
        room, _ = services.open_direct(current_user, username.strip())
        room_id = room.public_id
    return redirect(url_for("chat.room", room_id=room_id), 303)


@bp.get("/chat/<room_id>")
@requires("chat:use")
def room(room_id: str) -> ResponseReturnValue:
    """Show a conversation."""
    return _page(OpenDirect(formdata=None), room_id)


@bp.route("/chat/with/<username>", methods=["GET", "POST"])
@requires("rooms:create")
def with_member(username: str) -> ResponseReturnValue:
    """Show whom one would write to; POST opens the room."""
    form = Confirm()
    try:
        if form.validate_on_submit():
            return _open(username)
        other = services.partner(current_user, username)
    except ValidationFailed as refused:
        raise NotFound(refused.detail) from None
    return render_template("chat/with.html", username=other.username, form=form), form.status
