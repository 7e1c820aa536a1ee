"""Whether scores can be trusted: recomputed means, mixed runs, patients on both sides of a fold."""
