"""The engine: rule cards, facts on demand, running, policy."""
