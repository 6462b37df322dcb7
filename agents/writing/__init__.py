"""How a row is acknowledged and never lost: batches, outbox, replayer, shadow."""
