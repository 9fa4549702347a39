"""Files of members: upload, list, show, download, rename, delete."""

from datetime import timedelta

from microsite.config import Setting, size, words
from microsite.core.feature import Feature, NavEntry, Task
from microsite.core.identity import Role

from . import queries, services
from .api import api
from .views import bp

feature = Feature(
    name="files",
    summary="Files of members",
    bp=bp,
    api=api,
    nav=(NavEntry(label="Files", endpoint="files.index", icon="folder2", permission="files:use"),),
    settings=(
        Setting(name="MAX_FILE_SIZE", parse=size(), default=10 * 2**30, help="largest file, bytes"),
        Setting(
            name="USER_QUOTA", parse=size(), default=50 * 2**30, help="bytes that one member's files may have"
        ),
        Setting(
            name="UPLOAD_EXTENSIONS",
            parse=words,
            default=(),
            help="endings that are accepted; none means all",
        ),
    ),
    permissions={"files:use": Role.MEMBER},
    capabilities={
        "stored_keys": queries.stored_keys,
        "shareable": services.SHAREABLE,
        "inbox": services.INBOX,
        "home_panel": queries.home_panel,
        "member_leaves": services.delete_all,
    },
    tasks=(Task(name="files.sweep", run=services.sweep, every=timedelta(hours=1), at_start=True),),
)
