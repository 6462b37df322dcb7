"""What is protected (tables.yaml) and what was promised (recovery.yaml), and what reads them."""

from inventories.catalog.load import load_recovery, load_tables
from inventories.catalog.recovery import Recovery
from inventories.catalog.tables import Table, Tables

__all__ = ["Recovery", "Table", "Tables", "load_recovery", "load_tables"]
