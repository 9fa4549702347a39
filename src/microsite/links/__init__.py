"""Links: files and notes for outsiders, under limits of uses, time and password."""

from datetime import timedelta

from microsite.config import Setting, choice, duration, integer, optional
from microsite.core.feature import Feature, NavEntry, Task
from microsite.core.identity import Role

from . import names, queries, recipient, services, webhooks  # noqa: F401 - `recipient` adds its views to `bp`
from .api import api
from .invitations import INVITATIONS
from .views import bp, share_action

feature = Feature(
    name="links",
    summary="Links that expire",
    bp=bp,
    api=api,
    setup=names.setup,
    nav=(NavEntry(label="Links", endpoint="links.index", icon="link-45deg", permission="links:use"),),
    settings=(
        Setting(
            name="LINK_EXPIRY_DEFAULT",
            parse=duration(),
            default=timedelta(hours=1),
            help="life of a link when its maker says nothing",
        ),
        Setting(
            name="LINK_EXPIRY_MAX",
            parse=duration(),
            default=timedelta(days=90),
            help="longest life of a link",
        ),
        Setting(
            name="LINK_USES_MAX",
            parse=optional(integer(1, 1_000_000)),
            default=None,
            help="most uses of a link; none: also unlimited until expiry",
        ),
        Setting(
            name="LINK_WEBHOOKS",
            parse=choice("off", "public", "any"),
            default="public",
            help="where links may tell programs what happened: nowhere, the public internet by https, or anywhere",
        ),
    ),
    permissions={"links:use": Role.MEMBER, "links:invite": Role.MANAGER, "links:moderate": Role.ADMIN},
    capabilities={
        "share_action": share_action,
        "home_panel": queries.home_panel,
        "invitations": INVITATIONS,
        "findings": queries.findings,
        "member_leaves": services.delete_all,
    },
    tasks=(
        Task(name="links.purge", run=services.purge, every=timedelta(minutes=5)),
        Task(name="links.webhook", run=webhooks.deliver, aside=True),
    ),
)
