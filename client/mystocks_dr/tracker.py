"""What the stock tracker writes through: a batch a second, nothing dropped.

    from mystocks_dr.tracker import BatchWriter

    writer = BatchWriter.open()
    writer.start()
    writer.enqueue_trade(trade)
"""

from agents.tracker.batches import BatchWriter, Unwritten

__all__ = ["BatchWriter", "Unwritten"]
