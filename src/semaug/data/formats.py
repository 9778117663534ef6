"""Formats of image files."""

from functools import cache

from PIL import Image

_OTHER_PROGRAMS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}  # decode these for Pillow


@cache
def known_formats() -> tuple[str, ...]:
    """Return the formats that the installed Pillow decodes without other programs."""
    Image.init()  # loads all its plugins
    return tuple(name for name in Image.ID if name not in _OTHER_PROGRAMS)
