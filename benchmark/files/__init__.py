"""Files: written whole or not at all, and read with bounds, never believed, since somebody else may have written them.
Needs no torch.

    writing.py    whole files, locks
    strict_yaml.py  YAML without aliases, bounded
    places.py     names, links, regular files, sizes
    schemas.py    JSON with a schema: types and ranges, keys of a newer version named as such
    tables.py     scores in Parquet, bounded by its footer before a row is read; histories in CSV
    arrays.py     NumPy archives, no larger than they say
    memory.py     what reading may take of memory
    pickles.py    what a checkpoint would call when it is loaded

Everything raises `DamagedFileError`, in one sentence: which file, what is wrong with it. SECURITY.md says who is
trusted with what.
"""
