"""Pages and JSON for recipients, who have no account: what a link is, its one button, and what it opened.

GET never spends anything. What a preview, a scanner or a browser looking ahead can see names neither things nor sizes.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from flask import Response, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from microsite.core.access import public, takes_uploads, wants_json, without_csrf
from microsite.core.db import atomic, db, writes_on_get
from microsite.core.document import FORM_OF_FILES, RAW_BODY, describe
from microsite.core.downloads import may_show
from microsite.core.exceptions import (
    BadRequest,
    Conflict,
    DomainError,
    Forbidden,
    Gone,
    NotFound,
    RateLimited,
    Unauthorized,
    Unavailable,
    ValidationFailed,
)
from microsite.core.headers import content_policy
from microsite.core.identity import User
from microsite.core.sessions import client_address
from microsite.core.throttle import address_key
from microsite.core.uploads import receive_body, receive_form

from . import opening
from .answers import BEFORE, CLAIMED, RECEIVED, ZIP, Given, before_json, json_body, opened_json
from .exceptions import WordWrong
from .forms import OpenLink, ReportLink
from .history import Visitor, record_page
from .invitations import INVITATIONS
from .models import Kind, Link
from .queries import items_of, provider
from .receiving import Receiver, files_left
from .schemas import OpeningInput
from .views import bp

BY_ADDRESS = "knowing the address is the right to open it, and no session is used or made"
TEXT_SHOWN = 100_000
TEXTS_SHOWN = 5
COOKIE = "ticket"
WORDS = (
    "anchor apple basket bridge button candle castle cherry cloud copper dolphin feather forest garden ginger harbor "
    "island jacket kettle ladder lantern lemon marble meadow mirror mountain needle orange paper pebble pencil planet "
    "pocket rabbit ribbon river saddle sailor silver spoon stable summer sunset teapot thunder ticket tiger timber tunnel "
    "turtle valley velvet violin walnut weather whistle willow window winter wonder yellow zebra"
).split()


def visitor() -> Visitor:
    return Visitor(client_address(), request.user_agent.string)


@bp.after_app_request  # also where no view of ours answers: 405, a refused host
def keep_private(response: Response) -> Response:
    """Nothing under a link is stored, indexed, or told to other sites."""
    if request.path.startswith("/l/"):
        response.headers["Cache-Control"] = "no-store"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response


# --- before the claim --------------------------------------------------------------------------------------------


@bp.get("/l/<token:token>", merge_slashes=False)
@public
@writes_on_get("one page_opened for each link, address and hour")
@describe(Gone, tag="Links", answers=BEFORE)
def open_link(token: str) -> ResponseReturnValue:
    """Say who sends something and what opening it does; spends nothing.

    With `Accept: application/json` it answers JSON, else a page.
    """
    link = opening.find_open(token)
    if link.kind == Kind.INVITATION:
        INVITATIONS.role(token)
    if request.method == "GET" and link.owner_id != current_user.id:
        record_page(link, visitor())
    if wants_json():
        return before_json(link)
    return _recipient_page(link, token, OpenLink(formdata=None))


def _recipient_page(link: Link, token: str, form: OpenLink) -> str:
    return render_template(
        "links/open.html", link=link, sender=db.session.get(User, link.owner_id), form=form, token=token,
        word=hold_word(token) if link.hold else None, report=ReportLink(formdata=None),
        items=items_of(link) if link.show_items and link.kind == Kind.FILES else [],
        mine=link.owner_id == current_user.id, files_left=files_left(link),
    )  # fmt: skip


def hold_word(token: str) -> str:
    """The word of a link that must be held or typed: a scanner that clicks does neither."""
    digest = hmac.new(current_app.secret_key.encode(), f"hold:{token}".encode(), hashlib.sha256).digest()  # type: ignore[union-attr]
    return WORDS[digest[0] % len(WORDS)]


# --- the claim ---------------------------------------------------------------------------------------------------


@bp.post("/l/<token:token>", merge_slashes=False)
@public
@without_csrf(BY_ADDRESS)
@describe(
    Gone, Unauthorized, Forbidden, RateLimited, ValidationFailed,
    tag="Links", body={"application/json": OpeningInput}, body_required=False, answers=CLAIMED,
)  # fmt: skip
def claim(token: str) -> ResponseReturnValue:
    """Open the link: check password and proof, spend a use, and hand out a ticket.

    With `Accept: application/json` it answers JSON, with `application/zip` all files, else a page. 401 spends no use.
    """
    refuse_unasked()
    wants_zip = request.accept_mimetypes.best == "application/zip"
    as_json = not wants_zip and wants_json()
    given = json_body() if as_json else Given(request.form.get("password"), request.form.get("proof"))
    link = opening.find_open(token)
    as_zip = wants_zip and link.kind == Kind.FILES
    if link.kind == Kind.INVITATION:
        INVITATIONS.role(token)
        return _to_registration(token, as_json=as_json)
    if link.owner_id == current_user.id and not as_zip and (not as_json or link.proof_hash):
        return _to_maker(token, as_json=as_json)
    link_id, proof_hash = link.id, link.proof_hash
    try:
        if link.hold and not as_json and not as_zip:
            check_word(token)
        opening.check_proof(
            proof_hash, given.proof
        )  # first: without the key nobody uses up the tries of its readers
        opening.check_link_password(link, given.password, visitor())
    except (Unauthorized, RateLimited, Unavailable, ValidationFailed) as refused:
        if as_json or as_zip:
            raise
        return (
            _recipient_page(opening.find_open(token), token, _refused(refused)),
            refused.status,
            refused.headers,
        )
    if as_zip:
        return opening.claim_as_zip(token, link_id, visitor())
    with atomic():
        opened = opening.claim(token, link_id, visitor(), in_browser=not as_json)
        answer: Any = opened_json(opened) if as_json else None
    return answer if as_json else _to_opened(opened)


def _to_maker(token: str, *, as_json: bool) -> ResponseReturnValue:
    """What the link shows, to its own maker: nothing is spent."""
    with atomic():
        opened = opening.owner_ticket(opening.find_open(token))
        answer: Any = opened_json(opened) if as_json else None
    if not as_json and not opened.ticket:  # an encrypted note, which only a script can show
        return _recipient_page(opened.link, token, OpenLink(formdata=None))
    return answer if as_json else _to_opened(opened)


def check_word(token: str) -> None:
    """Raises WordWrong."""
    if request.form.get("word", "").strip().lower() != hold_word(token):
        raise WordWrong()


def refuse_unasked() -> None:
    """Raise Forbidden for what comes from another site's page, or from a browser that only looks ahead."""
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        raise Forbidden(
            "This link was not opened from its own page. Open its address and press the button there."
        )
    if "prefetch" in request.headers.get("Sec-Purpose", request.headers.get("Purpose", "")):
        raise Forbidden("A browser that only looks ahead opens nothing here.")


def _refused(refused: DomainError) -> OpenLink:
    form = OpenLink()
    if isinstance(refused, ValidationFailed):
        form.refuse(refused)
    else:
        form.password.errors = [refused.detail]
    return form


def _to_opened(opened: opening.Opened) -> Response:
    """To the page of a ticket, whose cookie only this browser has."""
    address = url_for("links.opened", ticket=opened.ticket)
    response: Any = redirect(address, 303)
    if opened.cookie:
        response.set_cookie(
            COOKIE, opened.cookie, path=address, expires=opened.expires_at, httponly=True, samesite="Lax",
            secure=current_app.config["SESSION_COOKIE_SECURE"],
        )  # fmt: skip
    return response  # type: ignore[no-any-return]


def _to_registration(token: str, *, as_json: bool) -> ResponseReturnValue:
    address = f"{current_app.config['REGISTER_PATH']}?invitation={token}"
    if as_json:
        return {"kind": "invitation", "url": current_app.config["BASE_URL"] + address}
    return redirect(address, 303)


# --- after the claim ---------------------------------------------------------------------------------------------


def _by_ticket(ticket: str) -> opening.Opened:
    return opening.by_ticket(ticket, request.cookies.get(COOKIE))


@bp.get("/l/t/<ticket>")
@public
@content_policy(media_src="'self'")
def opened(ticket: str) -> ResponseReturnValue:
    """Show what was opened, for as long as the ticket lives."""
    found = _by_ticket(ticket)
    link = found.link
    common = {
        "opened": found,
        "link": link,
        "sender": db.session.get(User, link.owner_id),
        "report": ReportLink(formdata=None),
    }
    if link.kind == Kind.UPLOAD:
        return render_template("links/send.html", receiver=Receiver(found), problem=None, **common)
    return render_template("links/opened.html", previews=_previews(found), **common)


def _previews(found: opening.Opened) -> dict[str, Any]:
    """How each thing can be shown on the page: "image", "video", "audio", or the text itself."""
    shown: dict[str, Any] = {}
    texts = 0
    for item in found.items:
        kind = item.media_type.partition("/")[0]
        if not may_show(item.media_type) or kind not in ("image", "video", "audio", "text"):
            continue
        shown[item.id] = {"kind": kind}
        answering = provider("files")
        if kind != "text":
            continue
        texts += 1
        try:
            if answering is None or texts > TEXTS_SHOWN:
                raise NotFound()
            beginning = answering.beginning(found.link.owner_id, item.id, TEXT_SHOWN)
            shown[item.id]["text"] = beginning.decode("utf-8", "replace")
        except (NotFound, OSError):
            del shown[item.id]  # a preview is not worth the page
    return shown


@bp.get("/l/t/<ticket>/all")
@public
@writes_on_get("the maker is told of each download")
@describe(Gone, tag="Links", answers=ZIP)
def download_all(ticket: str) -> ResponseReturnValue:
    """Give everything as one zip."""
    found = _by_ticket(ticket)
    if request.method == "HEAD":
        return "", 200, {"Content-Type": "application/zip"}
    return opening.send_all(found, visitor())


@bp.get("/l/t/<ticket>/i/<item_id>")
@public
@writes_on_get("the maker is told of each download")
@describe(Gone, NotFound, tag="Links", sends_file=True)
def download(ticket: str, item_id: str) -> ResponseReturnValue:
    """Give the bytes of one file of an opened link; Range works and costs no further use.

    With `?inline` it is shown where that is safe.
    """
    return opening.send_item(_by_ticket(ticket), item_id, visitor(), inline="inline" in request.args)


@bp.post("/l/t/<ticket>/end")
@public
@without_csrf(BY_ADDRESS)
def end_ticket(ticket: str) -> ResponseReturnValue:
    """End what was opened before its time, because its reader has it."""
    refuse_unasked()
    with atomic():
        opening.end_ticket(_by_ticket(ticket), visitor())
    return render_template("links/done.html", heading="Forgotten", words="What you opened is closed here.")


@bp.post("/l/t/<ticket>/send")
@bp.post("/l/t/<ticket>/send/")
@public
@takes_uploads
@without_csrf(BY_ADDRESS)
@describe(Gone, Forbidden, Conflict, ValidationFailed, tag="Links", body=FORM_OF_FILES, answers=RECEIVED)
def send_in(ticket: str) -> ResponseReturnValue:
    """Take the files of a sender's form, as parts named `file`."""
    refuse_unasked()
    receiver = _receiver(ticket)
    try:
        with (
            receiver,
            receive_form(receiver.limit, receiver.accept, receiver.allowance, by=receiver.holder) as received,
            atomic(),
        ):
            count = receiver.take(received, visitor())
    except DomainError as refused:
        if wants_json():
            raise
        return _send_page(ticket, refused.detail), refused.status
    if wants_json():
        return {"received": count}, 201
    return redirect(url_for("links.opened", ticket=ticket), 303)


def _receiver(ticket: str) -> Receiver:
    """Who takes a sender's files. Raises BadRequest for a body of unknown length, whose room could not be checked."""
    if request.content_length is None:
        raise BadRequest(
            "Say how long the body is (Content-Length); a body of unknown length is not taken here."
        )
    return Receiver(_by_ticket(ticket))


def _send_page(ticket: str, problem: str) -> str:
    found = _by_ticket(ticket)
    return render_template(
        "links/send.html", opened=found, link=found.link, sender=db.session.get(User, found.link.owner_id),
        receiver=Receiver(found), problem=problem, report=ReportLink(formdata=None),
    )  # fmt: skip


@bp.put("/l/t/<ticket>/send/<rest:name>", merge_slashes=False)
@public
@takes_uploads
@without_csrf(BY_ADDRESS)
@describe(Gone, Forbidden, Conflict, tag="Links", body=RAW_BODY, body_required=False, answers=RECEIVED)
def send_one(ticket: str, name: str) -> ResponseReturnValue:
    """Take one file as a raw body."""
    refuse_unasked()
    with _receiver(ticket) as receiver:
        receiver.accept(name)
        with (
            receive_body(name, receiver.limit, receiver.allowance, by=receiver.holder) as received,
            atomic(),
        ):
            count = receiver.take([received], visitor())
    return {"received": count}, 201


@bp.post("/l/report")
@public
@without_csrf(BY_ADDRESS)
def report_link() -> ResponseReturnValue:
    """Tell the administrators that a link is being abused."""
    refuse_unasked()
    return _report(opening.find_open(request.form.get("token", "")))


@bp.post("/l/t/<ticket>/report")
@public
@without_csrf(BY_ADDRESS)
def report_opened(ticket: str) -> ResponseReturnValue:
    """The same for whoever has opened it."""
    refuse_unasked()
    return _report(_by_ticket(ticket).link)


def _report(link: Link) -> ResponseReturnValue:
    form = ReportLink()
    if not form.validate():
        return render_template(
            "links/done.html", heading="Report this link",
            problem="Say in a few words what is wrong with it. Go back and try again.",
        ), 422  # fmt: skip
    opening.REPORTS.spend(address_key(visitor().address))
    with atomic():
        opening.report(link, form.reason.data or "", visitor())
    return render_template(
        "links/done.html", heading="Thank you", words="Whoever runs this site will look at it."
    )
