"""What is wrong with a schedule, before a run and after it."""
