"""Forms of the link pages."""

from __future__ import annotations

from wtforms import (
    BooleanField,
    IntegerField,
    PasswordField,
    SelectChoice,
    SelectField,
    StringField,
    TextAreaField,
)
from wtforms.fields import DateTimeLocalField
from wtforms.validators import Length, NumberRange, Optional

from microsite.core.forms import Form, Printable

TEXT_MAX = 100_000
LIVES = [
    SelectChoice("3600", "1 hour"),
    SelectChoice("86400", "1 day"),
    SelectChoice("604800", "1 week"),
    SelectChoice("2592000", "30 days"),
]
USES = [SelectChoice("1", "once"), SelectChoice("5", "5 times"), SelectChoice("", "no limit")]


ENDINGS = [
    SelectChoice("", "not earlier"),
    SelectChoice("900", "15 minutes after the first opening"),
    SelectChoice("3600", "1 hour after the first opening"),
    SelectChoice("86400", "1 day after the first opening"),
]
SIZES = [
    SelectChoice("", "any size"),
    SelectChoice("10000000", "10 MB"),
    SelectChoice("100000000", "100 MB"),
    SelectChoice("1000000000", "1 GB"),
]
DATE = "date"
RECIPIENTS_MAX = 20


class LinkTerms(Form):
    """What every kind of link has: limits, words, and being told."""

    expires_in = SelectField("Until when", choices=LIVES)
    expires_at = DateTimeLocalField(
        "Until this date and time",
        [Optional()],
        description="In UTC without JavaScript, else in your own zone.",
    )
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
    recipients = TextAreaField(
        "Send to (e-mail addresses, one a line)",
        [Length(max=6000)],
        description=f"Up to {RECIPIENTS_MAX}. Each gets a link of their own, so you see who opened it.",
        render_kw={"rows": 2, "autocomplete": "off"},
    )
    name = StringField(
        "Public name",
        [Length(max=64)],
        description="Makes the address easy to say, and to guess: for what many may find.",
        render_kw={"autocomplete": "off", "autocapitalize": "none"},
    )
    webhook = StringField(
        "Webhook",
        [Length(max=500), Printable()],
        description="For programs: this https address is told what happens to the link.",
        render_kw={"autocomplete": "off", "inputmode": "url", "autocapitalize": "none"},
    )
    shorten_to = SelectField("End earlier", choices=ENDINGS, default="")
    notify = BooleanField("Tell me when it is opened")
    show_items = BooleanField("Show names and sizes before opening")
    hold = BooleanField("The reader must hold the button (against mail scanners that click)")

    MORE = ("title", "note", "password", "recipients", "name", "shorten_to", "hold", "show_items", "webhook")

    @property
    def more(self) -> bool:
        """Whether anything is filled in, or refused, among the options that are folded away."""
        return any(self[name].data or self[name].errors for name in self.MORE)

    def ask_password_again(self) -> None:
        """A refused form comes back without its password; whoever does not notice would make a link without one."""
        if self.password.data:
            sentence = "Type the password again: it is not kept while something else is wrong."
            self.password.errors = [*self.password.errors, sentence]


class NewLink(LinkTerms):
    """Make a link to files, which come as repeated fields `file` that the view reads, or to a note."""

    text = TextAreaField("Note", [Length(max=TEXT_MAX), Printable(lines=True)], render_kw={"rows": 6})


class NewUploadRequest(LinkTerms):
    """Ask outsiders for files."""

    max_files = IntegerField("Files altogether", [NumberRange(1, 1000)], default=20)
    max_size = SelectField("Largest file", choices=SIZES, default="")
    types = StringField(
        "Endings",
        [Length(max=200), Printable()],
        description="Such as pdf, jpg. Empty: all that the site takes.",
    )


class NewInvitation(LinkTerms):
    """Ask somebody to become a member."""

    role = SelectField("As", choices=[])
    people = IntegerField("How many people", [NumberRange(1, 1000)], default=1)


class OpenLink(Form):
    """The one button of the recipient's page; knowing the address is the right to press it."""

    class Meta:
        csrf = False

    password = PasswordField("Password", render_kw={"autocomplete": "off"})
    word = StringField("The word", render_kw={"autocomplete": "off", "autocapitalize": "none"})


class ReportLink(Form):
    """Tell the administrators about a link."""

    class Meta:
        csrf = False

    reason = TextAreaField(
        "What is wrong with it?", [Length(min=3, max=1000), Printable(lines=True)], render_kw={"rows": 3}
    )


class ChangeLink(Form):
    """Give an open link another end."""

    expires_in = SelectField("New end", choices=LIVES)


class Confirm(Form):
    """Only the proof that the button was pressed on this site."""
