"""What there is: hosts and groups (inventories/*.py), values (group_data/), promises and tables (catalog/).

Layering, held by tests/unit/test_layers.py:

    doors -> drills -> runbooks.procedures -> runbooks.actions | runbooks.probes -> runbooks.hosts -> inventories
    doors, drills -> lab, deploys.run;  inventories/lab.py -> lab
    runbooks/{run.py, look, judge, backups, escrow} -> all of runbooks/; nothing in its other folders -> them
    runbooks.actions.provision -> deploys.run: restoring needs hosts first, and that module is a door which starts
        pyinfra as a child process, so a runbook still runs nothing of deploys/ itself
    runbooks.engine -> inventories.catalog (budgets only)
    deploys -> inventories;  agents -> nobody, and there no store -> another store

Nothing in runbooks/ or deploys/ knows drills/ or lab/: what recovers production was never written for a container.
"""
