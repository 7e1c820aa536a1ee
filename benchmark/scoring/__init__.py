"""Scores of a predicted mask: metrics, and what a run writes down of each test case."""
