"""A report as evidence: whether it still describes its files, and a statement about it for others to sign."""
