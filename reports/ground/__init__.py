"""What every report stands on: runs and their scores as frames, measures, addresses, and how a table is written."""
