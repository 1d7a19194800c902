"""Whether a place lies in a zone, as GEOS sees it: a library of the system, not a Python package."""

import ctypes
from functools import lru_cache

INNER_CITY = "POLYGON ((13.28 52.47, 13.47 52.47, 13.47 52.55, 13.28 52.55, 13.28 52.47))"


@lru_cache(maxsize=1)
def _geos() -> ctypes.CDLL:
    """Load the library; pointers are wider than the integers that ctypes takes them for."""
    library = ctypes.CDLL("libgeos_c.so.1")
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    for name, result, arguments in (
        ("GEOS_init_r", pointer, []),
        ("GEOS_finish_r", None, [pointer]),
        ("GEOSGeomFromWKT_r", pointer, [pointer, text]),
        ("GEOSContains_r", ctypes.c_char, [pointer, pointer, pointer]),
        ("GEOSGeom_destroy_r", None, [pointer, pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def contains(zone: str, lon: float, lat: float) -> bool:
    """Tell whether a zone (well-known text) holds a point."""
    geos = _geos()
    context = geos.GEOS_init_r()
    area = geos.GEOSGeomFromWKT_r(context, zone.encode())
    point = geos.GEOSGeomFromWKT_r(context, f"POINT ({lon!r} {lat!r})".encode())
    try:
        return geos.GEOSContains_r(context, area, point) == b"\x01"
    finally:
        geos.GEOSGeom_destroy_r(context, point)
        geos.GEOSGeom_destroy_r(context, area)
        geos.GEOS_finish_r(context)
