"""In the log, who did it: another one than whom it was done to, where an admin did.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column; nobody knows any more who did what is in the log already."""
    actor = sa.Column("actor", sa.String(80), nullable=False, server_default="")
    op.add_column("audit", actor)


def downgrade() -> None:
    """Refuse: an older release would not say who did it."""
    raise NotImplementedError("restore the accounts from a backup instead")
