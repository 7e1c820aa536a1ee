"""Where a printed number comes from, and which numbers may stand in one table."""
