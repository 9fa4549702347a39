"""Measures making and opening links against bare Flask and snappass: `python -m bench.links`."""
