"""A measured graph as text, one format a file: whoever calls writes it."""
