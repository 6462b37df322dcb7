"""Futures beside the spot value, and the basis between them."""

import sqlalchemy as sa
from alembic import op

from inventories.catalog.tracker.grants import grant

revision, down_revision = "0003", "0002"
branch_labels = depends_on = None
PRICE = sa.Numeric(12, 2)


def upgrade() -> None:
    op.create_table(
        "basis_history",
        sa.Column("event_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("futures_symbol", sa.String(20), nullable=False),
        sa.Column("futures_price", PRICE, nullable=False),
        sa.Column("spot_value", PRICE, nullable=False),
        sa.Column("basis", PRICE, nullable=False),
        sa.Column("captured_at", sa.TIMESTAMP(timezone=True), nullable=False),
    )
    op.create_index("idx_basis_time", "basis_history", [sa.text("captured_at DESC")])
    grant("basis_history")


def downgrade() -> None:
    op.drop_table("basis_history")
