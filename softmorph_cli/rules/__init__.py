"""Boolean filters as data: rules, their expressions, and structuring elements."""
