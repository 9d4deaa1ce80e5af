"""The same schedule in every library: what each makes of the same words, a rate, a warm-up, a length and a floor."""
