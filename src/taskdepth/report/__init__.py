"""The report: what runs of probe.py found, on one page that needs nothing but a browser."""
