"""One page that answers "am I safe": what is so now, what was proven, what to do next. What it draws it was given."""
