"""Readers of what other programs log: the learning rates that a run really used."""
