"""Small things that the tests of files share: hand-made multipart bodies, and what lies on the disk and in the table."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from microsite.core.db import db
from microsite.files.models import FileUsage, StoredFile

BOUNDARY = "a-boundary-of-the-tests"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


def part(name: str, data: bytes, filename: bytes | None = None) -> bytes:
    """One part as it stands in a body, the file name byte for byte as given."""
    shown = b"" if filename is None else b'; filename="' + filename + b'"'
    kind = b"" if filename is None else b"Content-Type: application/octet-stream\r\n"
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'.encode()
    return head + shown + b"\r\n" + kind + b"\r\n" + data + b"\r\n"


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def upload(
    client: Any, headers: dict[str, str], *files: tuple[str, bytes], accept: str = "application/json"
) -> Any:
    """POST files by the API; gives the response."""
    data = {"file": [(BytesIO(content), name) for name, content in files]}
    sent = headers | {"Accept": accept}
    return client.post("/api/v1/files", data=data, headers=sent, content_type="multipart/form-data")


def put(client: Any, headers: dict[str, str], name: str, content: bytes = b"content") -> dict[str, Any]:
    """Upload one file by PUT; gives the File."""
    answer = client.put(f"/api/v1/upload/{name}", data=content, headers=headers)
    assert answer.status_code == 201, answer.get_data(as_text=True)
    found: dict[str, Any] = answer.json
    return found


def stored(instance: Path) -> list[Path]:
    """Every file below the storage folder, half-written ones too."""
    return [path for path in (instance / "files").rglob("*") if path.is_file()]


def rows(app: Any) -> int:
    """How many files the table names."""
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(StoredFile)) or 0


def usage(app: Any) -> int:
    """Bytes counted against all quotas."""
    with app.app_context():
        return int(db.session.scalar(select(func.sum(FileUsage.used_bytes))) or 0)


def empty(app: Any, instance: Path) -> bool:
    """Whether neither disk nor table nor quota remembers anything."""
    return not stored(instance) and rows(app) == 0 and usage(app) == 0
