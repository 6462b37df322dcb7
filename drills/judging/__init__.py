"""Judge a drill: what was acknowledged against what is there, what was measured against what was promised."""
