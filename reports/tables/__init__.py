"""The tables of a grid, each with its figures, statistics and notes."""
