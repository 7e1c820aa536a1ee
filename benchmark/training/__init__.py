"""One training: its data, its loop, its inference; also of methods that train themselves."""
