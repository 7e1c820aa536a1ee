"""The real nnU-Net, the package `nnunetv2`, as a method: data, plan, training and prediction in a process of its own.

    plan.py        what is asked of nnU-Net's planner, and the arithmetic of the iteration budget
    raw.py         the raw data set: links, split, description, and a name that says what it depends on
    task.py        what the process is told: one JSON file
    method.py      NnUNetMethod, the base of the methods that nnU-Net trains
    launch.py      starts the process, forwards its progress, sees to it that nothing of it is left behind

    process.py     the process: `python -m benchmark.nnunet.process TASK.json`
    preparing.py   fingerprint, plan, preprocessing
    trainer.py     nnU-Net's trainer with an exact budget and exact resume
    network.py     the network that a plan describes, and its size
    predicting.py  masks of the original files

The second group needs `nnunetv2`; it is imported in that process alone.
"""
