"""JSON resources of files."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint
from flask import Response, current_app, make_response, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from microsite.core.access import requires, takes_uploads
from microsite.core.db import atomic
from microsite.core.document import FORM_OF_FILES, RAW_BODY, describe
from microsite.core.pages import absolute
from microsite.core.paging import listed
from microsite.core.schemas import PageQuery
from microsite.core.uploads import receive_body, receive_form

from . import queries, services
from .models import StoredFile
from .policies import file_for
from .schemas import CreatedFilesOutput, FileChanges, FileOutput, FilesOutput

TAG = {"name": "Files", "description": "The files of the member whose credential this is, and their bytes."}
api = APIBlueprint("files", __name__, tag=TAG)


UPLOADED = {
    "description": "The file; with `Accept: text/plain` the address of its page",
    "content": {"application/json": {"schema": FileOutput}, "text/plain": {"schema": {"type": "string"}}},
}


def file_json(file: StoredFile) -> dict[str, Any]:
    return {
        "id": file.public_id, "name": file.name, "size": file.size, "media_type": file.media_type,
        "sha256": file.sha256, "folder_id": None, "created_at": file.created_at, "updated_at": file.updated_at,
        "content_url": absolute(url_for("api.files.content", file_id=file.public_id)),
    }  # fmt: skip


@api.get("/files")
@requires("files:use")
@api.input(PageQuery, location="query")
@api.output(FilesOutput)
def list_files(query_data: dict[str, Any]) -> Any:
    """The member's files, newest first."""
    page = queries.files_of(current_user, query_data["limit"], query_data["cursor"])
    return listed(page, [file_json(file) for file in page.items], limit=query_data["limit"])


@api.post("/files")
@requires("files:use")
@takes_uploads
@describe(body=FORM_OF_FILES)
@api.output(CreatedFilesOutput, status_code=201)
def upload_files() -> Any:
    """Upload any number of files as multipart parts named `file`; all are kept or none."""
    actor = current_user._get_current_object()
    limit, allowance = current_app.config["MAX_FILE_SIZE"], services.allowance_of(actor)
    with receive_form(limit, services.check_name, allowance) as received, atomic():
        files = services.create_files(actor, [(item.name, item.stored) for item in received])
        answer = {"items": [file_json(file) for file in files]}
    return answer


@api.put("/upload/", defaults={"name": ""})
@api.put("/upload/<rest:name>", merge_slashes=False)
@requires("files:use")
@takes_uploads
@describe(body=RAW_BODY, body_required=False, answers={201: UPLOADED})
def upload_file(name: str) -> ResponseReturnValue:
    """Upload the raw body as one file, for `curl -T`."""
    actor = current_user._get_current_object()
    services.check_name(name)
    limit, allowance = current_app.config["MAX_FILE_SIZE"], services.allowance_of(actor)
    with receive_body(name or "file", limit, allowance) as received, atomic():
        file = services.create_files(actor, [(received.name, received.stored)])[0]
        answer, page = file_json(file), absolute(url_for("files.show", file_id=file.public_id))
    if request.accept_mimetypes.best_match(["application/json", "text/plain"]) == "text/plain":
        return Response(f"{page}\n", 201, content_type="text/plain; charset=utf-8")
    return make_response(FileOutput().dump(answer), 201)


@api.get("/files/<file_id>")
@requires("files:use")
@api.output(FileOutput)
def get_file(file_id: str) -> Any:
    """One file."""
    return file_json(file_for(current_user, file_id))


@api.get("/files/<file_id>/content")
@requires("files:use")
@describe(sends_file=True)
def content(file_id: str) -> Response:
    """The bytes of a file; Range and ETag work."""
    return services.send_file(file_for(current_user, file_id))


@api.patch("/files/<file_id>")
@requires("files:use")
@api.input(FileChanges)
@api.output(FileOutput)
def change_file(file_id: str, json_data: dict[str, Any]) -> Any:
    """Rename a file."""
    with atomic():
        file = file_for(current_user, file_id)
        if "name" in json_data:
            services.rename_file(file, json_data["name"])
        return file_json(file)


@api.delete("/files/<file_id>")
@requires("files:use")
@api.output({}, status_code=204)
def delete_file(file_id: str) -> ResponseReturnValue:
    """Delete a file for good."""
    with atomic():
        services.delete_file(file_for(current_user, file_id))
    return ""
