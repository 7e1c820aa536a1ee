"""What the numbers of a table can carry: intervals, paired comparisons, ranks, and what each factor contributes."""
