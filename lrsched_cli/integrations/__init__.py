"""Plans in training code, a file for each library; ``lrsched_cli`` exports what users call, and loads it lazily."""
