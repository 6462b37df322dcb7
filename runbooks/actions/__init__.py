"""Change: one file a component. An action never reports what it saw; a probe does."""
