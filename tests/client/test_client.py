"""The Python client against a real site."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from microsite.client import Client, ClientError, Gone, NotSignedIn, Refused, Unreachable
from microsite.client.files import free_path
from tests.conftest import Server


def test_files_up_and_down(site: Any, tmp_path: Path) -> None:
    source = tmp_path / "naïve € name.bin"
    source.write_bytes(bytes(range(256)) * 5000)
    seen: list[int] = []
    file = site.files.upload(source, progress=seen.append)
    assert (file.name, file.size, sum(seen)) == (source.name, 1_280_000, 1_280_000)
    assert file.created_at.tzinfo is not None
    assert file in list(site.files.list())
    target = tmp_path / "copy.bin"
    site.files.download(file, target)
    assert target.read_bytes() == source.read_bytes()
    site.files.delete(file.id)
    with pytest.raises(Refused) as refused:
        site.files.delete(file.id)
    assert (refused.value.status, refused.value.code) == (404, "not_found")


def test_lists_go_on_page_by_page(site: Any) -> None:
    made = {site.links.create(text=f"note {n}").id for n in range(105)}
    assert made <= {link.id for link in site.links.list()}


def test_refusals_are_exceptions_of_one_tree(site: Any, shared_server: Server) -> None:
    with Client(shared_server.url) as anybody:
        with pytest.raises(NotSignedIn):
            anybody.me()
        with pytest.raises(Gone):
            anybody.links.open(f"{shared_server.url}/l/nothing")
        link = site.links.create(text="hello", password="open sesame")
        with pytest.raises(NotSignedIn) as refused:
            anybody.links.open(link.url, password="wrong")
        assert refused.value.code == "password_wrong"
        assert anybody.links.open(link.url, password="open sesame").text == "hello"
    with pytest.raises(Refused) as over:
        site.links.create(text="hello", max_uses=0)
    assert "max_uses" in over.value.errors
    with Client("http://127.0.0.1:1") as nobody, pytest.raises(Unreachable):
        nobody.me()
    assert issubclass(Gone, ClientError)
    with pytest.raises(ValueError, match="no address"):
        Client("ftp://example.org")


def test_the_token_goes_to_its_own_site_alone(site: Any, another_site: Any) -> None:
    address, heard = another_site
    with pytest.raises(Unreachable):
        site.links.open(f"{address}/api/v1/l/x")
    assert heard
    assert not any("authorization" in line.lower() for line in heard)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "_.._etc_passwd"),
        ("C:\\boot.ini", "C__boot.ini"),
        (".bashrc", "bashrc"),
        ("..", "file"),
        ("a\x1b[2Jb\n", "a_[2Jb_"),
        ("x" * 300, "x" * 200),
        ("\u6587" * 83 + ".pdf", "\u6587" * 65 + ".pdf"),
    ],
)
def test_names_that_a_site_sends_stay_in_the_folder(tmp_path: Path, name: str, safe: str) -> None:
    assert free_path(tmp_path, name) == tmp_path / safe
