"""What is protected (tables.yaml), what was promised (recovery.yaml) and what must be true of rows (quality.yaml)."""

from inventories.catalog.load import load_quality, load_recovery, load_tables
from inventories.catalog.quality import Quality
from inventories.catalog.recovery import Recovery
from inventories.catalog.tables import Table, Tables

__all__ = ["Quality", "Recovery", "Table", "Tables", "load_quality", "load_recovery", "load_tables"]
