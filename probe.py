"""Find out at what depth tasks live: extract, probe, compare, select, report.

python probe.py models.pretrained=<folder> models.experimental=<run> models.controls=<run>
"""

from taskdepth.cli import probe

if __name__ == "__main__":
    probe()
