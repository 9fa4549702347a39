"""Forms of the file pages."""

from __future__ import annotations

from wtforms import StringField
from wtforms.validators import InputRequired

from microsite.core.forms import Form


class Rename(Form):
    name = StringField("Name", [InputRequired("Give the file a name.")])


class Delete(Form):
    """Only the proof that the button was pressed on this site."""
