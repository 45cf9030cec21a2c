"""In the log, names as users write them; nothing of what was typed as the name of nobody.

Somebody may have typed a password there.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change entries of the log, and no table."""
    connection = op.get_bind()
    users = sa.table("users", sa.column("key"), sa.column("name"))
    audit = sa.table("audit", *map(sa.column, ("event", "name", "detail")))
    names = dict(connection.execute(sa.select(users.c.key, users.c.name)).all())
    for typed in connection.scalars(sa.select(audit.c.name).distinct()).all():
        name = names.get(unicodedata.normalize("NFKC", typed).casefold().strip())
        entries = sa.update(audit).where(audit.c.name == typed)
        if name is None:
            failed = entries.where(audit.c.event == "login failed")
            connection.execute(failed.values(name="", detail="no such user"))
        elif name != typed:
            connection.execute(entries.values(name=name))


def downgrade() -> None:
    """Refuse: what was forgotten is gone."""
    raise NotImplementedError("restore the accounts from a backup instead")
