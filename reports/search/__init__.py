"""The report of a search: best trial as a grid, table of trials, figures, comparison with the paper's values."""
