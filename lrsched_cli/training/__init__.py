"""Real training: the data, the models, and many runs as one batched ensemble."""
