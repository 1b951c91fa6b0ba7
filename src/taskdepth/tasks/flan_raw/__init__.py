"""FLAN's tasks from their raw data sets on the Hugging Face hub, in our own words.

One module per cluster holds its tasks: how a row is read, and templates, none of them inverted.
`task` and `row` say what a task is made of, `loading` streams rows, `source` turns them into examples.
"""

from taskdepth.tasks.flan_raw.source import FlanRawSource

__all__ = ["FlanRawSource"]
