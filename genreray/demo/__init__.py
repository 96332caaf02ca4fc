"""The demo catalog: generated mp3s with genres, artists and splits, laid out as the FMA dataset is."""

from genreray.demo.make import DemoCatalog, make_catalog
from genreray.demo.plan import BROKEN

__all__ = ["BROKEN", "DemoCatalog", "make_catalog"]
