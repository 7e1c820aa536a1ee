"""The page: everything there are runs for in one folder that a browser opens from a file share.

grids.py      what is shown of a launch: its table's cells, their numbers and their cases
cells.py      what is shown of a cell: runs, scores of single cases, training curves
failures.py   of which cases thumbnails are wanted
coverage.py   how far every launch is
text.py       data that a script element can hold
assets.py     scripts and styles, the libraries' from their packages
write.py      the folder
"""
