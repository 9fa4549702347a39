"""Refusals of links."""

from microsite.core.exceptions import Gone, Unauthorized, ValidationFailed


class LinkGone(Gone):
    """Used, expired, revoked, never there: one answer for all of these."""

    def __init__(self) -> None:
        super().__init__(
            "This link no longer works. It was used, has ended, or was withdrawn. Ask whoever sent it for a new one."
        )


class PasswordRequired(Unauthorized):
    def __init__(self) -> None:
        super().__init__("This link needs a password. Whoever sent the link has it.", "password_required")


class PasswordWrong(Unauthorized):
    def __init__(self) -> None:
        super().__init__(
            "That is not the password of this link. The link is not used up by this.", "password_wrong"
        )


class ProofMissing(Unauthorized):
    def __init__(self) -> None:
        super().__init__(
            "This link is incomplete: the part after # is missing or damaged. It is not used up by this. Copy the whole link."
        )


class WordWrong(ValidationFailed):
    def __init__(self) -> None:
        super().__init__({"word": ["Hold the button down, or type the word that stands above the field."]})
