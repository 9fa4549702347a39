"""Accounts: registering, signing in, sessions, passwords, API keys and access tokens."""

from datetime import timedelta

from microsite.config import Setting, choice
from microsite.core.feature import Feature, Task
from microsite.core.identity import Role

from . import services
from .api import api
from .credentials import for_socket, setup
from .views import bp, sign_in_again

feature = Feature(
    name="auth",
    summary="Accounts, sessions, API keys",
    bp=bp,
    api=api,
    can_be_off=False,
    setup=setup,
    settings=(
        Setting(
            name="REGISTRATION",
            parse=choice("open", "invite", "closed"),
            default="open",
            help="who may register",
        ),
    ),
    capabilities={"credential": for_socket, "sign_in_again": sign_in_again},
    permissions={"account:manage": Role.GUEST},
    tasks=(
        Task(name="auth.reset", run=services.mail_reset),
        Task(name="auth.unconfirmed", run=services.purge_unconfirmed, every=timedelta(hours=6)),
    ),
)
