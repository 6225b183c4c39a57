"""What a team decides for itself: configuration, profiles, waivers and the baseline, read from files that may be wrong.

A configuration comes with the repository under review, so it is read as warily as a model: no tags, no aliases, no
code, bounded in size and depth; and nothing in it makes anything run.
"""
