"""how many files a member has"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("file_usage", schema=None) as batch_op:
        batch_op.add_column(sa.Column("file_count", sa.Integer(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE file_usage SET file_count ="
        " (SELECT count(*) FROM files WHERE files.owner_id = file_usage.user_id)"
    )
    with op.batch_alter_table("file_usage", schema=None) as batch_op:
        batch_op.alter_column("file_count", server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("file_usage", schema=None) as batch_op:
        batch_op.drop_column("file_count")
