"""How a procedure runs: step, runner, journal, lock, wait, budgets, verify. Knows no database.

A procedure author needs `procedure.Procedure`, `step.Step`, `step.Evidence`, `step.Gate`, `context.Context`,
`context.Options` and `wait.until`; a task needs `history.open_run`, `runner.run`, `plan.plan_rows` and
`paper.render`. Of ours only inventories.errors and the catalogue's budgets are imported here.
"""
