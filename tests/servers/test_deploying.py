"""The nginx of docs/deploying.md, taken from the page and started before a real site."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.conftest import Server, free_port, need, wait_for

ROOT = Path(__file__).parents[2]
HOST = "files.example.org"
TOKEN = "k3yThatOpensALink"


@dataclass
class Front:
    """nginx with TLS before a site."""

    site: Server
    http: int
    https: int
    folder: Path

    @property
    def certificate(self) -> str:
        return str(self.folder / "certificate.pem")

    def ask(self, method: str, path: str, **options: object) -> requests.Response:
        given: dict[str, object] = {"headers": {}, "timeout": 30, "allow_redirects": False} | options
        given["headers"] = {"Host": HOST} | dict(given["headers"])  # type: ignore[call-overload]
        return requests.request(
            method,
            f"https://127.0.0.1:{self.https}{path}",
            verify=self.certificate,
            **given,  # type: ignore[arg-type]
        )

    def connect(self, *protocols: str) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=self.certificate)
        context.set_alpn_protocols(list(protocols))
        plain = socket.create_connection(("127.0.0.1", self.https), 20)
        return context.wrap_socket(plain, server_hostname=HOST)

    def log(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))


def configuration(folder: Path, site: int, http: int, https: int) -> str:
    """The block of the page, with the ports and folders of the test in place of its own."""
    page = (ROOT / "docs/deploying.md").read_text()
    (block,) = re.findall(r"^```nginx\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    swapped = {
        "127.0.0.1:8000": f"127.0.0.1:{site}",
        "listen 80;": f"listen 127.0.0.1:{http};",
        "listen 443 ssl": f"listen 127.0.0.1:{https} ssl",
        "/etc/ssl/files.example.org.pem": str(folder / "certificate.pem"),
        "/etc/ssl/files.example.org.key": str(folder / "key.pem"),
        "/var/log/nginx": str(folder),
    }
    block = re.sub(r"^\s*listen \[::\].*\n", "", block, flags=re.MULTILINE)
    for written, ours in swapped.items():
        assert written in block
        block = block.replace(written, ours)
    (folder / "microsite.conf").write_text(block)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    user = "user root;" if os.getuid() == 0 else ""
    return f"""
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/main.log warn;
events {{ }}
http {{
{temporary}
include {folder}/microsite.conf;
}}
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate that we made ourselves."""
    folder = tmp_path_factory.mktemp("nginx")
    names = f"subjectAltName=DNS:{HOST},IP:127.0.0.1"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    command = [need("openssl"), "req", "-x509", *curve, *files, "-subj", f"/CN={HOST}", "-addext", names]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture
def front(serve: Callable[..., Server], certificate: Path) -> Iterator[Front]:
    nginx = need("nginx", "/usr/sbin/nginx")
    site = serve(BASE_URL=f"https://{HOST}", TRUSTED_PROXIES=1)
    found = Front(site, free_port(), free_port(), certificate)
    main = certificate / "nginx.conf"
    main.write_text(configuration(certificate, site.port, found.http, found.https))
    command = [nginx, "-c", str(main), "-e", str(certificate / "main.log")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def up() -> bool:
        assert process.poll() is None, found.log()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", found.https), 1):
            return True
        return False

    wait_for(up, 10, "nginx")
    yield found
    process.terminate()
    process.wait(10)


def test_the_nginx_of_the_documentation(front: Front) -> None:
    page = front.ask("GET", "/auth/login")
    assert (page.status_code, "Sign in" in page.text) == (200, True)
    with front.connect("h2", "http/1.1") as connection:
        assert connection.selected_alpn_protocol() == "h2"

    moved = requests.get(
        f"http://127.0.0.1:{front.http}/files/?a=b",
        headers={"Host": HOST},
        allow_redirects=False,
        timeout=10,
    )
    assert (moved.status_code, moved.headers["Location"]) == (301, f"https://{HOST}/files/?a=b")

    member = front.site.add("anna")
    with front.connect("http/1.1") as connection:
        lines = [
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1",
            f"Host: {HOST}",
            f"Origin: https://{HOST}",
            f"Authorization: {member['Authorization']}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ]
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 101 ")

    content = os.urandom(20 * 2**20)
    put = front.ask("PUT", "/api/v1/upload/big.bin", data=content, headers=member)
    assert put.status_code == 201, put.text
    path = f"/api/v1/files/{put.json()['id']}/content"
    back = front.ask("GET", path, headers=member).content
    assert hashlib.sha256(back).digest() == hashlib.sha256(content).digest()


def test_its_logs_hold_no_token(front: Front) -> None:
    secret = [
        f"/l/{TOKEN}",
        f"/l/t/{TOKEN}/i/{TOKEN}",
        f"//l//{TOKEN}",
        f"/%6C/{TOKEN}",
        f"/auth/reset/{TOKEN}",
        f"/auth/confirm/{TOKEN}",
        f"/auth/setup/{TOKEN}",
        f"/auth/register?invitation={TOKEN}",
    ]
    for path in secret:
        front.ask("GET", path, headers={"Referer": f"https://{HOST}/l/{TOKEN}"})
        requests.get(f"http://127.0.0.1:{front.http}{path}", allow_redirects=False, timeout=10)
    assert front.ask("POST", f"/l/{TOKEN}", data=b"x" * (5 * 2**20)).status_code == 413
    front.site.stop()
    assert front.ask("GET", f"/l/{TOKEN}").status_code == 502
    wait_for(lambda: '"GET /l/..." 502' in front.log(), 10, "the line of the last request")
    assert TOKEN not in front.log()
    assert '"GET /auth/reset/..." ' in front.log()
    assert '"GET /auth/register" ' in front.log()
