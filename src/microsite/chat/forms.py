"""Forms of the chat pages."""

from __future__ import annotations

from wtforms import StringField
from wtforms.validators import InputRequired, Length

from microsite.core.forms import Form


class OpenDirect(Form):
    """Open the direct room with a member."""

    username = StringField(
        "Write to",
        [InputRequired("Give a name."), Length(max=64)],
        render_kw={"autocapitalize": "none", "spellcheck": "false", "autocomplete": "off"},
    )


class Confirm(Form):
    """Only the proof that the button was pressed on this site."""
