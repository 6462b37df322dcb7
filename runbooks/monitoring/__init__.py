"""The past, told to the monitoring database: from journals, alarms and validations into a spool, and from there on.

Nothing here is asked by a runbook. What a runbook did stands in its journal, on the disk before and after each step;
it is gathered later, so that no runbook waits for monitoring or knows whether it works.
"""
