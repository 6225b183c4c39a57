"""What changed between two versions of a model: `avreview diff`.

Each module compares one aspect of two artifacts and gives a `Section` of `Change`s; a change stands in one section
only. Nothing here knows files' formats, rules or printing.
"""
