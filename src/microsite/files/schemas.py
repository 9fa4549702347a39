"""Shapes of the file API."""

from __future__ import annotations

from marshmallow.fields import Integer, List, Nested, String

from microsite.core.schemas import Input, ListOutput, Output, utc


class FileOutput(Output):
    id = String()
    name = String()
    size = Integer(metadata={"description": "Bytes"})
    media_type = String()
    sha256 = String()
    folder_id = String(allow_none=True)
    created_at = utc()
    updated_at = utc()
    content_url = String()


class FilesOutput(ListOutput):
    items = List(Nested(FileOutput))


class CreatedFilesOutput(Output):
    items = List(Nested(FileOutput))


class FileChanges(Input):
    name = String(metadata={"description": "Cleaned and cut like that of an upload, never refused"})
