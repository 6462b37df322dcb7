"""The trading system's own configuration, read into catalogue entries; what somebody has to decide is told."""

from inventories.catalog.foreign.propose import Proposal, propose
from inventories.catalog.foreign.shape import listed
from inventories.catalog.foreign.write import alone, append, rendered

__all__ = ["Proposal", "alone", "append", "listed", "propose", "rendered"]
