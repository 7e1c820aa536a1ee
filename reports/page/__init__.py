"""The page: everything there are runs for in one folder that a browser opens from a file share.

grids.py      what is shown of a launch: its table's cells, their numbers and their cases
cells.py      what is shown of a cell: runs, scores of single cases, training curves
failures.py   of which cases thumbnails are wanted
checking.py   whether the files still give the cell's numbers
sharing.py    texts without the folders of this machine
run_parts.py  rows of single runs: trials of searches, answers without a modality
linking.py    from numbers to their cells and rows, and to nothing else
coverage.py   how far every launch is
text.py       data that a script element can hold
assets.py     scripts and styles, the libraries' from their packages
write.py      what is in the folder
folder.py     the folder: a new page takes an older one's place
"""
