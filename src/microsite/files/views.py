"""Pages of files."""

from __future__ import annotations

from functools import cache
from typing import Any

from flask import Blueprint, current_app, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user
from markupsafe import Markup

from microsite.core.access import requires, takes_uploads
from microsite.core.db import atomic
from microsite.core.downloads import first_bytes, may_show
from microsite.core.exceptions import DomainError, ValidationFailed
from microsite.core.feature import registry
from microsite.core.headers import content_policy
from microsite.core.pages import icon
from microsite.core.paging import neighbours
from microsite.core.uploads import receive_form

from . import queries, services
from .forms import Delete, Rename
from .models import StoredFile
from .policies import file_for

bp = Blueprint(
    "files", __name__, template_folder="templates", static_folder="static/files", static_url_path="/static/files"
)  # fmt: skip
TEXT_SHOWN = 100_000


@bp.app_template_filter()
@cache
def type_icon(media_type: str) -> Markup:
    """The drawing that stands for a type."""
    drawing = {"image": "image", "video": "play", "audio": "music"}.get(media_type.partition("/")[0], "text")
    if media_type == "application/pdf":
        drawing = "pdf"
    elif "zip" in media_type or "compressed" in media_type:
        drawing = "zip"
    return icon(f"file-earmark-{drawing}", 22)


def sharers() -> list[Any]:
    """Ways to hand files out that other features offer: (label, icon, address)."""
    return [found for offer in registry().capability("share_action").values() if (found := offer())]


def _list(problem: str | None = None) -> str:
    page = queries.files_of(current_user, current_app.config["PAGE_SIZE"], request.args.get("cursor"))
    base = url_for("files.index")
    return render_template(
        "files/index.html", files=page.items, beside=neighbours(page, base), base=base, problem=problem, sharers=sharers(),
        used=queries.used_bytes(current_user), quota=current_app.config["USER_QUOTA"],
    )  # fmt: skip


@bp.get("/files/")
@requires("files:use")
def index() -> ResponseReturnValue:
    """List the member's files, newest first."""
    return _list()


@bp.post("/files/")
@requires("files:use")
@takes_uploads
def upload() -> ResponseReturnValue:
    """Take the files of the form."""
    actor = current_user._get_current_object()
    try:
        limit, allowance = current_app.config["MAX_FILE_SIZE"], services.allowance_of(actor)
        with receive_form(limit, services.check_name, allowance) as received, atomic():
            files = services.create_files(actor, [(item.name, item.stored) for item in received])
            count, first = len(files), files[0].name
    except ValidationFailed as refused:
        return _list(refused.detail), refused.status
    except DomainError as refused:
        if refused.status in (413, 415, 507) and "text/html" in request.headers.get("Accept", ""):
            return _list(refused.detail), refused.status
        raise
    flash(f"{first} is here." if count == 1 else f"{count} files are here.", "success")
    return redirect(url_for("files.index"), 303)


@bp.get("/files/<file_id>")
@requires("files:use")
@content_policy(media_src="'self'")
def show(file_id: str) -> ResponseReturnValue:
    """Show a file with its preview and facts."""
    return _file_page(file_for(current_user, file_id), Rename())


def _file_page(file: StoredFile, form: Rename, status: int = 200) -> ResponseReturnValue:
    kind = file.media_type.partition("/")[0] if may_show(file.media_type) else None
    text = None
    if kind == "text":
        text = first_bytes(file.storage_key, TEXT_SHOWN).decode("utf-8", "replace")
    page = render_template(
        "files/show.html",
        file=file,
        kind=kind,
        text=text,
        cut=file.size > TEXT_SHOWN,
        form=form,
        sharers=sharers(),
    )
    return page, status


@bp.get("/files/<file_id>/download")
@requires("files:use")
def download(file_id: str) -> ResponseReturnValue:
    """Give the bytes as a download."""
    return services.send_file(file_for(current_user, file_id))


@bp.get("/files/<file_id>/raw")
@requires("files:use")
def raw(file_id: str) -> ResponseReturnValue:
    """Give the bytes, shown by the browser where the type is safe."""
    return services.send_file(file_for(current_user, file_id), inline=True)


@bp.post("/files/<file_id>/rename")
@requires("files:use")
def rename(file_id: str) -> ResponseReturnValue:
    """Give a file another name."""
    file = file_for(current_user, file_id)
    form = Rename()
    if not form.validate():
        return _file_page(file, form, 422)
    try:
        with atomic():
            services.rename_file(file_for(current_user, file_id), form.name.data)
    except DomainError as refused:
        form.refuse(ValidationFailed({"name": [refused.detail]}))
        return _file_page(file_for(current_user, file_id), form, 422)
    return redirect(url_for("files.show", file_id=file_id), 303)


@bp.route("/files/<file_id>/delete", methods=["GET", "POST"])
@requires("files:use")
def delete(file_id: str) -> ResponseReturnValue:
    """Ask, then delete a file for good."""
    file = file_for(current_user, file_id)
    form = Delete()
    if form.validate_on_submit():
        name = file.name
        with atomic():
            services.delete_file(file_for(current_user, file_id))
        flash(f"{name} is deleted.", "success")
        return redirect(url_for("files.index"), 303)
    return render_template("files/delete.html", file=file, form=form), form.status
