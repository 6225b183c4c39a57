"""Python files as data: their syntax tree is evaluated as far as it is literal, and nothing of them is ever run."""
