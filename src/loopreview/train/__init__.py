"""Training on this machine: a plan with its gates, a job in a process of its own, and two backends.

Nothing here opens a workspace or its store: a run's folder and a dataset's folder are all there is to it.
"""
