"""Searches by Optuna whose trials are runs: the storage they share, who suggests, who prunes, what becomes of trials.

    storage.py    a journal file that survives being killed, or a database by its address
    samplers.py   who suggests, seeded again for every trial
    pruning.py    who stops a run early, asked inside the training loop
    sharing.py    which launcher has which trial, and whether it is alive
    trials.py     the study: asked for trials, told what came of their runs

Nothing here knows a study's file, and none of it needs torch.
"""
