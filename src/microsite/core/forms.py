"""The base of all page forms: one way to take a refusal back, and fields that several features share."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any

from flask import g, request
from flask_wtf import FlaskForm
from wtforms import PasswordField, ValidationError

from microsite.core.exceptions import DomainError, ValidationFailed
from microsite.core.names import is_unseen

LINE_BREAKS = frozenset("\n\r\t")


class Form(FlaskForm):
    """A page form. A view catches ValidationFailed and RateLimited, and gives them back with `refuse`."""

    refusal: DomainError | None = None

    class Meta(FlaskForm.Meta):
        def wrap_formdata(self, form: Any, formdata: Any) -> Any:
            """Forms are no JSON: what stands in such a body is nobody's field."""
            return None if request.is_json else super().wrap_formdata(form, formdata)

    def validate(self, *args: Any, **options: Any) -> bool:
        """Whether all fields hold; never while the form is only shown again."""
        return not g.get("not_sent") and bool(super().validate(*args, **options))

    def refuse(self, refusal: DomainError) -> None:
        """Put the sentences of a service beside their fields, or above all of them."""
        self.refusal = refusal
        errors = refusal.errors if isinstance(refusal, ValidationFailed) else {"": [refusal.detail]}
        for name, messages in errors.items():
            if name in self:
                self[name].errors = [*self[name].errors, *messages]
            else:
                self.form_errors.extend(messages)

    @property
    def status(self) -> int:
        """200 before the first try, that of the refusal (422 without one) when the form is shown again."""
        if self.refusal is not None:
            return self.refusal.status
        return 422 if self.is_submitted() else 200

    @property
    def headers(self) -> dict[str, str]:
        """Response headers that belong to the refusal."""
        return self.refusal.headers if self.refusal is not None else {}


@cache
def password_names() -> frozenset[str]:
    """What the forms of this site call a password."""
    names: set[str] = set()
    waiting = [Form]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        for name in dir(kind):
            field = getattr(getattr(kind, name), "field_class", None)
            if isinstance(field, type) and issubclass(field, PasswordField):
                names.add(name)
    return frozenset(names)


def unprintable(text: str, *, lines: bool = False) -> bool:
    """Whether text holds what cannot be shown.

    In a line that is control characters, half a character pair, and marks that break or reorder it (`core.names`),
    with which a name could look like another. With `lines`, line breaks, tabs and such marks belong to the text.
    """
    if lines:
        return any(unicodedata.category(c) in ("Cc", "Cs") and c not in LINE_BREAKS for c in text)
    return any(is_unseen(c) for c in text)


class Printable:
    """WTForms validator: text without what cannot be shown, by the rule of `unprintable`."""

    def __init__(self, *, lines: bool = False) -> None:
        self.lines = lines

    def __call__(self, form: Any, field: Any) -> None:  # noqa: ARG002 - WTForms' signature
        if unprintable(field.data or "", lines=self.lines):
            raise ValidationError("This holds characters that cannot be shown.")
