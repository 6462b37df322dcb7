"""What foreign investors bought and sold, and how fast."""

import sqlalchemy as sa
from alembic import op

from inventories.catalog.tracker.grants import grant

revision, down_revision = "0002", "0001"
branch_labels = depends_on = None


def upgrade() -> None:
    op.create_table(
        "foreign_snapshots",
        sa.Column("event_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("f_buy_vol", sa.BigInteger, nullable=False),
        sa.Column("f_sell_vol", sa.BigInteger, nullable=False),
        sa.Column("f_net_vol", sa.BigInteger, nullable=False),
        sa.Column("buy_speed_per_min", sa.Numeric(12, 2), server_default="0"),
        sa.Column("sell_speed_per_min", sa.Numeric(12, 2), server_default="0"),
        sa.Column("captured_at", sa.TIMESTAMP(timezone=True), nullable=False),
    )
    op.create_index("idx_foreign_snap_symbol", "foreign_snapshots", ["symbol", sa.text("captured_at DESC")])
    grant("foreign_snapshots")


def downgrade() -> None:
    op.drop_table("foreign_snapshots")
