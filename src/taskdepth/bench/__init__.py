"""Side-by-side benchmarks: `python -m taskdepth.bench training --json`."""
