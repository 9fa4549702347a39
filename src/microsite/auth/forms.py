"""Forms of the account pages."""

from __future__ import annotations

from wtforms import (
    BooleanField,
    HiddenField,
    PasswordField,
    SelectChoice,
    SelectField,
    StringField,
    TextAreaField,
)
from wtforms.validators import EqualTo, InputRequired, Length

from microsite.core.forms import Form, Printable

SAME = "The two passwords are not the same."


class NewPassword(Form):
    """Two fields for a new password; the rules are in `passwords.objection`."""

    password = PasswordField(
        "Password", [InputRequired("Choose a password.")], description="At least 12 characters; a sentence is good.",
        render_kw={"autocomplete": "new-password"},
    )  # fmt: skip
    confirm = PasswordField(
        "The same password again", [EqualTo("password", SAME)], render_kw={"autocomplete": "new-password"}
    )


class Register(NewPassword):
    username = StringField(
        "Name", description="3 to 32 letters, digits, _ or -. Others see it.",
        render_kw={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false", "required": True},
    )  # fmt: skip
    email = StringField(
        "E-mail",
        [InputRequired("Give your e-mail address."), Length(max=254), Printable()],
        render_kw={"type": "email", "autocomplete": "email"},
    )


class SignIn(Form):
    username = StringField(
        "Name or e-mail",
        [InputRequired("Give your name or e-mail address.")],
        render_kw={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"},
    )
    password = PasswordField(
        "Password", [InputRequired("Give your password.")], render_kw={"autocomplete": "current-password"}
    )
    remember = BooleanField("Keep me signed in on this device")
    unsent = HiddenField()

    @property
    def status(self) -> int:
        """401 for all that is not right here, but for limits and a busy site."""
        found = super().status
        return found if found in (200, 429, 503) else 401


class AskReset(Form):
    email = StringField(
        "E-mail",
        [InputRequired("Give your e-mail address."), Length(max=254), Printable()],
        render_kw={"type": "email", "autocomplete": "email"},
    )


class Confirm(Form):
    """Only the proof that the button was pressed on this site."""


class Details(Form):
    name = StringField(
        "Shown name",
        [Length(max=80), Printable()],
        description="Shown instead of your user name where it helps.",
        render_kw={"autocomplete": "name"},
    )
    about = TextAreaField(
        "About you",
        [Length(max=500), Printable(lines=True)],
        description="Up to 500 characters.",
        render_kw={"rows": 4},
    )


class ChangePassword(NewPassword):
    current = PasswordField(
        "Present password",
        [InputRequired("Give your present password.")],
        render_kw={"autocomplete": "current-password"},
    )


class NewKey(Form):
    """Make an API key; the password is asked for where the sign-in is not recent."""

    name = StringField("What for", [InputRequired("Say what the key is for."), Length(1, 80), Printable()])
    expires_in = SelectField(
        "Ends",
        choices=[
            SelectChoice("", "never"),
            SelectChoice("2592000", "in 30 days"),
            SelectChoice("31536000", "in a year"),
        ],
    )
    current = PasswordField("Your password", render_kw={"autocomplete": "current-password"})
