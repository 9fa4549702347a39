"""Measures the web side of Microsite against bare Flask and against itself at rest: `python -m bench.web`."""
