"""Sessions: rows in the database that can be listed and ended, behind Flask-Session's interface.

The cookie carries a random id of 256 bits; the table holds only its hash. A row is inserted only for an id that was
made in the same request and is otherwise updated, so that an ended session never comes back through a slow request.
The store writes in its own transaction, never inside `atomic()`.

Whoever is not signed in has no row: form token and notes are in the cookie itself, which is signed and proves nobody.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from datetime import datetime, timedelta
from typing import Any

from flask import Flask, Request, Response, current_app, g, request
from flask import session as browser_session
from flask_login import login_user, logout_user
from flask_session import Session
from flask_session.base import ServerSideSession, ServerSideSessionInterface
from itsdangerous import BadData, URLSafeTimedSerializer
from sqlalchemy import ForeignKey, String, Text, bindparam, delete, insert, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Mapped, mapped_column

from microsite.core.clock import now
from microsite.core.db import Base, UTCDateTime, atomic, db, in_transaction, refuse_unsent
from microsite.core.identity import User
from microsite.core.unsent import new_form_secret

ANONYMOUS_LIFE = timedelta(days=1)
ANONYMOUS_MAX = 3900
"""Bytes of a cookie that every browser takes."""
RECENT = timedelta(minutes=15)
SEEN_EVERY = timedelta(minutes=1)
WITHOUT_SESSION = ("/static/", "/healthz", "/readyz")


class SessionRow(Base):
    """One signed-in browser, or one access token."""

    __tablename__ = "sessions"

    id: Mapped[int] = mapped_column(primary_key=True)
    id_hash: Mapped[str] = mapped_column(String(64), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    data: Mapped[str] = mapped_column(Text, default="{}")
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)
    seen_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)
    idle_seconds: Mapped[int | None] = mapped_column()
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime, index=True)
    address: Mapped[str] = mapped_column(String(45), default="")
    agent: Mapped[str] = mapped_column(String(200), default="")


def why_over(row: Any, moment: datetime) -> str | None:
    """Why this session (a SessionRow, or a row with its columns) is over at `moment`: "absolute", "idle", or None."""
    if row.expires_at <= moment:
        return "absolute"
    if row.idle_seconds is not None and row.seen_at + timedelta(seconds=row.idle_seconds) <= moment:
        return "idle"
    return None


WITH_USER = (
    select(
        SessionRow.id,
        SessionRow.user_id,
        SessionRow.data,
        SessionRow.created_at,
        SessionRow.seen_at,
        SessionRow.idle_seconds,
        SessionRow.expires_at,
        User,
    )
    .outerjoin(User, User.id == SessionRow.user_id)
    .where(SessionRow.id_hash == bindparam("id_hash"), SessionRow.kind != "token")
)
"""Built once, since every page runs it."""


def hashed(sid: str) -> str:
    return hashlib.sha256(sid.encode()).hexdigest()


class BrowserSession(ServerSideSession):
    """The mapping that views see as `flask.session`."""

    row_id: int | None = None
    is_new = False
    user_id: int | None = None
    remember = False
    created_at: datetime | None = None
    seen_at: datetime | None = None


class SqlSessionInterface(ServerSideSessionInterface):
    """Flask-Session over the table `sessions`."""

    session_class = BrowserSession

    def __init__(self, app: Flask) -> None:
        super().__init__(app, key_prefix="", permanent=False, sid_length=32, serialization_format="json")

    def _get_store_id(self, sid: str) -> str:
        return hashed(sid)

    def open_session(self, app: Flask, request: Request) -> BrowserSession:
        cookie = request.cookies.get(app.config["SESSION_COOKIE_NAME"])
        by_header = request.path.startswith("/api/") and "Authorization" in request.headers
        found = None
        if cookie and not by_header and not request.path.startswith(WITHOUT_SESSION):
            if "." in cookie:
                found = self._load_anonymous(cookie)
            elif len(cookie) <= 64:
                found = self._load_if_possible(cookie)
        return self._fresh() if found is None else found

    def _load_anonymous(self, cookie: str) -> BrowserSession | None:
        try:
            data = self._signer().loads(cookie, max_age=int(ANONYMOUS_LIFE.total_seconds()))
        except BadData:
            return None
        return self.session_class(data, sid=self._generate_sid(self.sid_length))

    def _signer(self) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(current_app.config["SECRET_KEY"], salt="anonymous session")

    def _fresh(self) -> BrowserSession:
        fresh = self.session_class(sid=self._generate_sid(self.sid_length), permanent=False)
        fresh.is_new = True
        return fresh

    def _load_if_possible(self, sid: str) -> BrowserSession | None:
        """The session; while the database is down none, and the guard raises what was kept for it.

        An error here would come before there is a session, and no error handler could answer it.
        """
        try:
            return self._load(sid)
        except (OperationalError, PoolTimeout) as error:
            db.session.rollback()
            g.no_session, g.session_failure = True, error
            return None

    def _load(self, sid: str) -> BrowserSession | None:
        row = db.session.execute(WITH_USER, {"id_hash": hashed(sid)}).first()
        if row is None:
            return None
        ended = why_over(row, now())
        if ended:
            if row.user_id is not None:
                g.session_ended = ended
            return None
        session = self.session_class(json.loads(row.data), sid=sid)
        session.row_id, session.user_id, session.seen_at = row.id, row.user_id, row.seen_at
        session.created_at = row.created_at
        g.session_user = row.User
        return session

    def save_session(self, app: Flask, session: BrowserSession, response: Response) -> None:
        if session.accessed:
            response.vary.add("Cookie")
        if g.get("no_session"):
            return
        if session.user_id is None:
            if session.modified:
                self._set_anonymous(app, session, response)
            return
        every = min(SEEN_EVERY, app.config["SESSION_IDLE"] / 6)
        stale = session.seen_at is not None and now() - session.seen_at >= every
        if not session.modified and not stale:
            return
        try:
            kept = self._store(session)
        except (OperationalError, PoolTimeout):
            g.no_session = True  # not a second time for the error page
            if session.modified:
                raise
            return  # "last seen" is not worth an answer
        if kept and session.is_new:
            self._set_cookie(app, session, response)

    def _store(self, session: BrowserSession) -> bool:
        """Write the row; False when it has been ended meanwhile."""
        moment = now()
        values: dict[str, Any] = {"data": json.dumps(dict(session)), "seen_at": moment}
        values |= {"address": client_address(), "agent": request.user_agent.string[:200]}
        mine = SessionRow.id_hash == hashed(
            session.sid
        )  # never by row number, which may name another session by now
        with db.engine.begin() as connection:
            if not session.is_new:
                return connection.execute(update(SessionRow).where(mine).values(values)).rowcount == 1
            values |= {
                "id_hash": hashed(session.sid),
                "created_at": moment,
                "user_id": session.user_id,
                "idle_seconds": None,
            }
            if session.remember:
                values |= {"kind": "browser", "expires_at": moment + current_app.config["REMEMBER_FOR"]}
            else:
                idle = int(current_app.config["SESSION_IDLE"].total_seconds())
                values |= {
                    "kind": "browser",
                    "expires_at": moment + current_app.config["SESSION_ABSOLUTE"],
                    "idle_seconds": idle,
                }
            connection.execute(insert(SessionRow).values(values))
            return True

    def _set_cookie(self, app: Flask, session: BrowserSession, response: Response) -> None:
        lasting = current_app.config["REMEMBER_FOR"] if session.remember else None
        response.set_cookie(
            app.config["SESSION_COOKIE_NAME"], session.sid, max_age=lasting, httponly=True, samesite="Lax",
            secure=app.config["SESSION_COOKIE_SECURE"], path="/",
        )  # fmt: skip
        response.vary.add("Cookie")

    def _set_anonymous(self, app: Flask, session: BrowserSession, response: Response) -> None:
        name, secure = app.config["SESSION_COOKIE_NAME"], app.config["SESSION_COOKIE_SECURE"]
        signed = str(self._signer().dumps(dict(session))) if session else ""
        if signed and len(signed) <= ANONYMOUS_MAX:
            response.set_cookie(name, signed, httponly=True, samesite="Lax", secure=secure, path="/")
        elif name in request.cookies:
            response.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="Lax")
        response.vary.add("Cookie")

    def _delete_session(self, store_id: str) -> None:
        if in_transaction():
            raise RuntimeError("the session store is not written inside atomic()")
        refuse_unsent()
        with db.engine.begin() as connection:
            connection.execute(delete(SessionRow).where(SessionRow.id_hash == store_id))

    def _retrieve_session_data(self, store_id: str) -> dict[str, Any] | None:
        raise NotImplementedError("open_session reads the row together with its user")

    def _upsert_session(self, session_lifetime: timedelta, session: ServerSideSession, store_id: str) -> None:
        raise NotImplementedError("rows are inserted or updated, never upserted")


class SqlSession(Session):
    """The Flask-Session extension, always on our table."""

    def _get_interface(self, app: Flask) -> SqlSessionInterface:
        return SqlSessionInterface(app)


def client_address() -> str:
    """The visitor's ip; forwarded headers count only behind TRUSTED_PROXIES.

    A socket that listens on `::` gives an IPv4 visitor as `::ffff:192.0.2.1` (RFC 4291 section 2.5.5.2), whose /64 all
    of them share: everywhere here that is the IPv4 address.
    """
    ip = request.remote_addr or ""
    try:
        mapped = ipaddress.IPv6Address(ip).ipv4_mapped
    except ValueError:
        mapped = None
    return str(mapped or ip)[:45]


def current_row_id() -> int | None:
    """Row of the browser session of this request."""
    found: int | None = getattr(browser_session, "row_id", None)
    return found


def is_recent() -> bool:
    """Whether the sign-in of this browser session is at most RECENT ago."""
    created_at: datetime | None = getattr(browser_session, "created_at", None)
    return created_at is not None and now() - created_at <= RECENT


def begin(user: User, *, remember: bool = False) -> None:
    """Sign `user` in: the old id dies, a new one and new form tokens take its place."""
    session: Any = browser_session._get_current_object()  # type: ignore[attr-defined]
    interface: Any = current_app.session_interface
    if session.user_id is not None:
        interface._delete_session(hashed(session.sid))
    session.clear()
    session.sid = interface._generate_sid(interface.sid_length)
    session.is_new, session.row_id, session.user_id, session.remember = True, None, user.id, remember
    session["csrf_token"] = new_form_secret(user)
    g.pop("csrf_token", None)  # Flask-WTF caches the token of the old session
    login_user(user)


def sign_out() -> None:
    """End this session on the server; a request of it that is still under way sets no new one."""
    session: Any = browser_session._get_current_object()  # type: ignore[attr-defined]
    interface: Any = current_app.session_interface
    if session.user_id is not None:
        interface._delete_session(hashed(session.sid))
    logout_user()
    session.clear()
    session.user_id, session.row_id = None, None
    g.pop("csrf_token", None)


def sessions_of(user: User) -> list[SessionRow]:
    """The live browser sessions and access tokens of a member, most recently seen first."""
    rows = db.session.scalars(
        select(SessionRow).where(SessionRow.user_id == user.id).order_by(SessionRow.seen_at.desc())
    )
    moment = now()
    return [row for row in rows if why_over(row, moment) is None]


def end_sessions(user: User, *, only: int | None = None, but: int | None = None) -> int:
    """End the sessions of a member (one of them, or all but one) inside the present transaction; returns how many."""
    query = delete(SessionRow).where(SessionRow.user_id == user.id)
    if only is not None:
        query = query.where(SessionRow.id == only)
    if but is not None:
        query = query.where(SessionRow.id != but)
    return int(db.session.execute(query).rowcount)  # type: ignore[attr-defined]


def purge_sessions() -> None:
    """Task: delete what is over, a member's session only after a day, so that the sentence about it can still be said."""
    yesterday = now() - timedelta(days=1)
    with atomic():
        db.session.execute(delete(SessionRow).where(SessionRow.expires_at < yesterday))
        for row in db.session.scalars(select(SessionRow).where(SessionRow.seen_at < yesterday)):
            if why_over(row, yesterday):
                db.session.delete(row)
