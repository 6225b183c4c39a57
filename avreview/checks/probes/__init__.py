"""Checks of what only running a model shows. Imported when a review is asked to run probes."""
