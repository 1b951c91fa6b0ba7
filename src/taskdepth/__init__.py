"""taskdepth: at what depth of a language model does a task live?

The names here are the Python interface that does not change; they are imported on first use, so
that `import taskdepth` and `train.py --help` do not wait for torch.
"""

__version__ = "0.1.0"
