"""The results folder: runs, the manifests of grids, evidence of scores, attempts. Needs no torch."""
