"""How a procedure runs: step, runner, journal, lock, wait, budgets, errors. Knows no database."""
