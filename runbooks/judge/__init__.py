"""Judge what was seen against what was promised."""
