"""Alerts that were raised, for review."""

import sqlalchemy as sa
from alembic import op

from inventories.catalog.tracker.grants import grant

revision, down_revision = "0004", "0003"
branch_labels = depends_on = None


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("event_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("alert_type", sa.String(50), nullable=False),
        sa.Column("message", sa.Text),
        sa.Column("severity", sa.String(20)),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.func.now()),
    )
    op.create_index("idx_alerts_time", "alerts", [sa.text("created_at DESC")])
    grant("alerts")


def downgrade() -> None:
    op.drop_table("alerts")
