"""Forms of the link pages."""

from __future__ import annotations

from wtforms import PasswordField, SelectChoice, SelectField, StringField, TextAreaField
from wtforms.validators import Length

from microsite.core.forms import Form, Printable

TEXT_MAX = 100_000
LIVES = [
    SelectChoice("3600", "1 hour"),
    SelectChoice("86400", "1 day"),
    SelectChoice("604800", "1 week"),
    SelectChoice("2592000", "30 days"),
]
USES = [SelectChoice("1", "once"), SelectChoice("5", "5 times"), SelectChoice("", "no limit")]


class NewLink(Form):
    """Make a link. The files come as repeated fields `file`, which the view reads."""

    text = TextAreaField("Note", [Length(max=TEXT_MAX), Printable(lines=True)], render_kw={"rows": 6})
    expires_in = SelectField("Until when", choices=LIVES)
    max_uses = SelectField("How often", choices=USES)
    password = PasswordField(
        "Password (if you want one)",
        [Length(max=1024)],
        description="Tell it by another way than the link.",
        render_kw={"autocomplete": "new-password"},
    )
    title = StringField(
        "Title",
        [Length(max=120), Printable()],
        description="The reader sees it before opening. The names of files stay hidden until then.",
    )
    note = TextAreaField(
        "Words to the reader",
        [Length(max=1000), Printable(lines=True)],
        description="Shown before opening.",
        render_kw={"rows": 2},
    )


class OpenLink(Form):
    """The one button of the recipient's page; knowing the address is the right to press it."""

    class Meta:
        csrf = False

    password = PasswordField("Password", render_kw={"autocomplete": "off"})


class Revoke(Form):
    """Only the proof that the button was pressed on this site."""
