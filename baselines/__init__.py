"""The methods. One file each, behind `benchmark.protocols.Method`; found by file name."""
