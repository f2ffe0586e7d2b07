"""What the page keeps: drafts, uploads and approvals; the audit entries become a chain, those that are there too.

Revision ID: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables and the chain."""
    op.add_column("dataforge_audit", sa.Column("digest", sa.String(64), nullable=False, server_default=""))
    op.create_table(
        "dataforge_audit_end",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("entries", sa.Integer, nullable=False),
    )
    _chain()
    op.create_table(
        "dataforge_drafts",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("file", sa.String(1000), nullable=False),
        sa.Column("base", sa.String(64), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("chat", sa.String(64), nullable=False),
        sa.Column("pinned", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("dataforge_drafts_actor", "dataforge_drafts", ["actor", "updated_at"])
    op.create_table(
        "dataforge_uploads",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("bytes", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("profile", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("dataforge_uploads_actor", "dataforge_uploads", ["actor", "created_at"])
    op.create_index("dataforge_uploads_created_at", "dataforge_uploads", ["created_at"])
    op.create_table(
        "dataforge_approvals",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("file", sa.String(1000), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("base", sa.String(64), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("decider", sa.String(200), nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("revision", sa.Integer, sa.ForeignKey("dataforge_revisions.id")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True)),
    )
    op.create_index("dataforge_approvals_state", "dataforge_approvals", ["state", "created_at"])
    op.create_index("dataforge_approvals_revision", "dataforge_approvals", ["revision"])


def downgrade() -> None:
    """Remove them."""
    for table in ("dataforge_approvals", "dataforge_uploads", "dataforge_drafts", "dataforge_audit_end"):
        op.drop_table(table)
    op.drop_column("dataforge_audit", "digest")


def _chain() -> None:
    """Seal the entries that are there already, in their order."""
    from dataforge.store.audit import seal

    names = ("id", "at", "actor", "action", "subject", "details", "digest")
    at = sa.column("at", sa.DateTime(timezone=True))
    table = sa.table("dataforge_audit", *(at if name == "at" else sa.column(name) for name in names))
    end = sa.table("dataforge_audit_end", sa.column("id"), sa.column("digest"), sa.column("entries"))
    connection, last, count = op.get_bind(), "", 0
    for row in connection.execute(sa.select(table).order_by(table.c.id)).mappings().all():
        last, count = seal(last, **{name: row[name] for name in names[1:-1]}), count + 1
        connection.execute(sa.update(table).where(table.c.id == row["id"]).values(digest=last))
    connection.execute(sa.insert(end).values(id=1, digest=last, entries=count))
