"""Configurations of other programs, read for the schedule in them: a file for each format, and one that tells them."""
