"""Chat: rooms whose truth is a numbered log, a socket that is a fast hint, and a poll that recovers every gap."""

from microsite.core.feature import Feature, NavEntry
from microsite.core.identity import Role

from . import queries
from .api import api
from .events import setup
from .views import bp

feature = Feature(
    name="chat",
    summary="Rooms and direct messages",
    bp=bp,
    api=api,
    nav=(NavEntry(label="Chat", endpoint="chat.index", icon="chat-dots", permission="chat:use"),),
    permissions={"chat:use": Role.GUEST, "rooms:create": Role.MEMBER},
    capabilities={"home_panel": queries.home_panel},
    setup=setup,
)
