"""Break and judge: scenarios, faults, ledger, measure, report."""
