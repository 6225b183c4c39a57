"""Checks that go by what running an augmentation showed."""
