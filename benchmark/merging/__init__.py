"""Results of several machines in one folder. Needs no torch.

    plan = planned(sources, into)     what would be joined, and what cannot be; reads only
    carry_out(plan)                   does it; may be killed and repeated

    sources.py       what a results folder holds
    differences.py   in what two runs differ
    completing.py    what a run gets from identical copies of it
    launches.py      grids: united where they are the same, kept apart or joined where they are not
    planning.py      which run is taken from where
    writing.py       the copying

Rules. A run that several folders have is taken once: a finished one before an unfinished one, the folder's own before
others, then in the order they are named. Of finished ones with the same scores
the others give what the first lacks. Two finished ones with different scores are a conflict: neither is taken, and the
one that the folder has already stays. Launches of a grid with the same name are united. Others of the same table
(the same profile and data set, but other code, data or settings) stay launches of their own, unless one folder is
preferred: its newest launch then also takes the cells that only the others have finished. The folders that are
joined are never written to.
"""

from benchmark.merging.planning import MergePlan, planned
from benchmark.merging.writing import carry_out

__all__ = ["MergePlan", "carry_out", "planned"]
