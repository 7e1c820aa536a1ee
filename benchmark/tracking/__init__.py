"""MLflow as a mirror of a results folder. The folder is the truth; the mirror can be rebuilt from it.

    sync(results)           bring MLflow up to date; does nothing twice
    Mirror(results, grid)   the same every few seconds, in a process of its own, while a grid runs
    undelivered(results)    the runs MLflow does not know in their present state; asks no server
    log_report(...)         a report's figures and tables, beside their grid; log_folder(...): a page

    content.py    what MLflow is to show of a results folder
    memory.py     what it has been told already
    store.py      the database or server, and the experiment in it
    delivery.py   what is new, delivered
    syncing.py    one pass over the folder
    mirror.py     the process beside the launcher

A grid is a parent run, a run of the suite its child. What MLflow has is remembered in
`results/mlflow_delivered.json`; without that file it is looked up in MLflow by the runs' tags. Metrics carry
times that follow from the run folder alone, so that a database drops what it is sent a second time.
MLflow is imported when a store is opened, never by importing this package.
"""

from benchmark.tracking.mirror import Mirror
from benchmark.tracking.store import store_uri
from benchmark.tracking.syncing import SyncReport, log_folder, log_report, sync, undelivered

__all__ = ["Mirror", "SyncReport", "log_folder", "log_report", "store_uri", "sync", "undelivered"]
