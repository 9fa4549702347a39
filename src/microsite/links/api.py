"""JSON resources of links, for their makers."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint
from flask import url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from microsite.core.access import requires
from microsite.core.db import atomic
from microsite.core.document import describe
from microsite.core.exceptions import Conflict, ValidationFailed
from microsite.core.identity import Role
from microsite.core.pages import absolute
from microsite.core.paging import listed
from microsite.core.passwords import hash_password
from microsite.core.schemas import PageQuery
from microsite.core.sharing import SharedItem

from . import queries, services, webhooks
from .models import Link
from .policies import link_for
from .schemas import LinkChanges, LinkEventsOutput, LinkInput, LinkOutput, LinksOutput, NewLinkOutput
from .services import Encrypted, Terms, UploadRequest

TAG = {"name": "Links", "description": "Links that hand out files and notes, or take files in."}
api = APIBlueprint("links", __name__, tag=TAG)
THINGS = ("files", "text", "encrypted", "upload", "invitation")


def link_json(link: Link, items: list[SharedItem] | None = None) -> dict[str, Any]:
    if items is None:
        items = queries.items_of(link)
    return {
        "id": link.public_id, "kind": link.kind, "title": link.title, "note": link.note, "created_at": link.created_at,
        "expires_at": link.expires_at, "max_uses": link.max_uses, "uses": link.uses,
        "has_password": link.password_hash is not None, "state": queries.state_of(link, items).value,
        "items": [{"id": i.id, "name": i.name, "size": i.size, "media_type": i.media_type} for i in items],
    }  # fmt: skip


@api.post("/links")
@requires("links:use")
@describe(body_required=True)
@api.input(LinkInput)
@api.output(NewLinkOutput, status_code=201)
def create_link(json_data: dict[str, Any]) -> Any:
    """Make a link to files or to a text; `url` is shown this once."""
    password = json_data.pop("password", None)
    things = {name: json_data.pop(name) for name in THINGS if name in json_data}
    if len(things) != 1:
        raise ValidationFailed({"files": [services.ONE_THING]})
    if set(things) & {"encrypted", "upload", "invitation"}:
        things = _larger_thing(**things)
    terms = Terms(**json_data, password_hash=hash_password(password) if password else None)
    with atomic():
        link, token = services.create_link(current_user, terms, **things)
        signed = {"webhook_secret": webhooks.secret_of(link)} if link.webhook else {}
        return link_json(link) | {"url": absolute(url_for("links.open_link", token=token))} | signed


def _larger_thing(
    encrypted: dict[str, Any] | None = None,
    upload: dict[str, Any] | None = None,
    invitation: dict[str, Any] | None = None,
) -> dict[str, Any]:
    if encrypted is not None:
        return {"encrypted": Encrypted(**encrypted)}
    if upload is not None:
        return {"upload": UploadRequest(**upload)}
    return {"role": Role((invitation or {})["role"])}


@api.get("/links")
@requires("links:use")
@api.input(PageQuery, location="query")
@api.output(LinksOutput)
def list_links(query_data: dict[str, Any]) -> Any:
    """The member's links, newest first, without their tokens."""
    page = queries.links_of(current_user, query_data["limit"], query_data["cursor"])
    items = queries.items_of_all(page.items)
    return listed(page, [link_json(link, items[link.id]) for link in page.items], limit=query_data["limit"])


@api.get("/links/<link_id>")
@requires("links:use")
@api.output(LinkOutput)
def get_link(link_id: str) -> Any:
    """One link."""
    return link_json(link_for(current_user, link_id))


@api.get("/links/<link_id>/events")
@requires("links:use")
@api.input(PageQuery, location="query")
@api.output(LinkEventsOutput)
def list_events(link_id: str, query_data: dict[str, Any]) -> Any:
    """What happened to a link, newest first."""
    page = queries.events_of(link_for(current_user, link_id), query_data["limit"], query_data["cursor"])
    return listed(page, page.items, limit=query_data["limit"])


@api.patch("/links/<link_id>")
@requires("links:use")
@describe(Conflict)
@api.input(LinkChanges)
@api.output(LinkOutput)
def change_link(link_id: str, json_data: dict[str, Any]) -> Any:
    """Give an open link another end, more uses, or another wish to be told."""
    with atomic():
        link = link_for(current_user, link_id)
        services.change_link(link, **json_data)
        return link_json(link)


@api.delete("/links/<link_id>")
@requires("links:use")
@api.output({}, status_code=204)
def revoke_link(link_id: str) -> ResponseReturnValue:
    """Withdraw a link; its tickets end too."""
    with atomic():
        services.revoke(link_for(current_user, link_id))
    return ""
