"""Files of a results folder that somebody else may have written: read with bounds, never believed. Needs no torch.

    places.py     names, links, regular files, sizes
    schemas.py    JSON with a schema: types and ranges, keys of a newer version named as such
    tables.py     scores in Parquet, bounded by its footer before a row is read; histories in CSV
    arrays.py     NumPy archives, no larger than they say
    pickles.py    what a checkpoint would call when it is loaded
    notices.py    what was left out, told once to whoever looks

Everything raises `DamagedFileError`, in one sentence: which file, what is wrong with it. SECURITY.md says who is
trusted with what.
"""
