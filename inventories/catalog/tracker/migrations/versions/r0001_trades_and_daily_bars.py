"""Trades and daily bars."""

import sqlalchemy as sa
from alembic import op

from inventories.catalog.tracker.grants import grant

revision, down_revision = "0001", None
branch_labels = depends_on = None
PRICE = sa.Numeric(12, 2)


def upgrade() -> None:
    # Whoever takes a backup reads the revision as this role.
    op.execute("GRANT SELECT ON alembic_version TO reader")
    op.create_table(
        "trades",
        sa.Column("event_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("price", PRICE, nullable=False),
        sa.Column("volume", sa.Integer, nullable=False),
        sa.Column("value", sa.Numeric(18, 2), nullable=False),
        sa.Column("trade_type", sa.String(20), nullable=False),
        sa.Column("bid_price", PRICE),
        sa.Column("ask_price", PRICE),
        sa.Column("traded_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.func.now()),
    )
    op.create_index("idx_trades_symbol_time", "trades", ["symbol", sa.text("traded_at DESC")])
    op.create_table(
        "daily_ohlc",
        sa.Column("event_id", sa.BigInteger, nullable=False),
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("date", sa.Date, nullable=False),
        sa.Column("open", PRICE),
        sa.Column("high", PRICE),
        sa.Column("low", PRICE),
        sa.Column("close", PRICE),
        sa.Column("volume", sa.BigInteger),
        # Serves (symbol, date DESC) too, which the seed has beside it: an index is read in both directions.
        sa.PrimaryKeyConstraint("symbol", "date"),
    )
    grant("trades")
    grant("daily_ohlc")


def downgrade() -> None:
    op.drop_table("daily_ohlc")
    op.drop_table("trades")
    op.execute("REVOKE SELECT ON alembic_version FROM reader")
