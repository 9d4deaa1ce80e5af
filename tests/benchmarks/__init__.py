"""What lrsched must be as fast as: ``python -m tests.benchmarks [SECTION ...] [--quick]``; see RESULTS.md."""
