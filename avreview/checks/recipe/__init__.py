"""Checks that a training recipe, or the lists of what its splits hold, decide: imported when the review has one."""
