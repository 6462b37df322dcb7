"""What there is: hosts and groups (inventories/*.py), values (group_data/), promises and tables (catalog/).

Layering, held by tests/unit/test_layers.py:

    tasks -> drills -> runbooks.procedures -> runbooks.actions | runbooks.probes -> runbooks.hosts -> inventories
    tasks, drills -> lab, deploys.run;  inventories/lab.py -> lab
    runbooks/*.py (run, status, drift, ...) -> everything in runbooks/, and nothing in its folders -> them but layout
    runbooks.engine -> inventories.catalog (budgets only)
    deploys -> inventories;  agents -> nobody

Nothing in runbooks/ or deploys/ knows drills/ or lab/: what recovers production was never written for a container.
"""
