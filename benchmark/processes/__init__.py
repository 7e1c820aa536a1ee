"""Processes of this suite: how they are started, stopped and watched. Knows nothing of runs; needs no torch."""
