"""What calls of language models used; the digest of each generated config, so that its revision finds its origin.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and the column."""
    op.create_table(
        "dataforge_model_calls",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("task", sa.String(20), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("team", sa.String(200), nullable=False),
        sa.Column("model", sa.String(400), nullable=False),
        sa.Column("provider", sa.String(50), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("outcome", sa.String(50), nullable=False),
        sa.Column("cached", sa.Boolean, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("cost", sa.Float, nullable=False),
        sa.Column("estimated", sa.Boolean, nullable=False),
        sa.Column("prompt_hash", sa.String(64), nullable=False),
    )
    op.create_index("dataforge_model_calls_at", "dataforge_model_calls", ["at", "actor"])
    op.create_index("dataforge_model_calls_request", "dataforge_model_calls", ["request_id"])
    op.add_column("dataforge_generations", sa.Column("digest", sa.String(64), nullable=False, server_default=""))
    op.create_index("dataforge_generations_digest", "dataforge_generations", ["digest", "id"])


def downgrade() -> None:
    """Remove them."""
    op.drop_index("dataforge_generations_digest", "dataforge_generations")
    op.drop_column("dataforge_generations", "digest")
    op.drop_table("dataforge_model_calls")
