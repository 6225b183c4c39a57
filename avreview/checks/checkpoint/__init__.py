"""Checks of rules that only a checkpoint or a pretrained base decides: imported when the review has one."""
