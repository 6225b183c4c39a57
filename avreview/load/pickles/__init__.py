"""Pickles: opcodes read one by one, nothing called."""
