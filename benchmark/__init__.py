"""The engine: data, training, evaluation and execution. Knows protocols, no paper and no table."""
