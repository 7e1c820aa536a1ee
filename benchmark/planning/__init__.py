"""What is to be run: grids, profiles, searches, the runs that they ask for, and their execution."""
