"""The demo suite: tasks in FLAN's 12 clusters that are generated from small lexicons, offline.

One module per cluster holds its tasks; `task` says what a task is made of, `source` turns tasks
into rows, `corpus` writes plain text about the same world.
"""

from taskdepth.tasks.demo.source import DemoSource

__all__ = ["DemoSource"]
