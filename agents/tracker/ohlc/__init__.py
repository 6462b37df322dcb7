"""Import of daily bars: from a REST source, page by page, and from files."""
