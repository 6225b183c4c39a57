"""The rules of our team: cards in `rules/`, and modules that are imported and register what they bring."""
