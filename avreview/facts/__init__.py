"""What is true of a subject, computed once: one module a subject."""
