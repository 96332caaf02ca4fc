"""FEATURES as found on disk: which part files, made with which settings, holding which tracks."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from genreray import parts, storage, tables
from genreray.errors import Status, UserError
from genreray.features import FeatureConfig

Labels = Literal["genre", "genres"]

_INDEX = ("track_id", "uri", "genre", "genres", "artist", "split", "status", "error", "n_frames")


@dataclasses.dataclass(frozen=True)
class FeatureSet:
    """A folder that `genreray extract` wrote; `index` has its tracks' other columns, and their places (part, row)."""

    uri: str
    config: FeatureConfig
    split_method: str
    index: pa.Table
    genre_parents: Mapping[str, str] = dataclasses.field(default_factory=dict)  # the catalog's tree, by child

    @classmethod
    def open(cls, uri: str) -> "FeatureSet":
        """Look through the folder `uri` without reading any features.

        Raises UserError where it is missing, empty, damaged, of mixed settings, or made by something else.
        """
        uri = storage.absolute(uri)
        if not storage.exists(uri):
            raise UserError(f"there are no features at {uri}: make them with `genreray extract CATALOG {uri}`")
        found = parts.Parts(uri, tables.FEATURES).files()
        if not found:
            raise UserError(f"{uri} holds no features: make them with `genreray extract CATALOG {uri}`")
        settings = parts.settings_of(found)
        if settings.get("table") != "features":
            raise UserError(f"{uri} holds {settings.get('table')}, not features: give a folder of `genreray extract`")
        return cls(
            uri=uri,
            config=FeatureConfig.from_json(settings["features"], uri),
            split_method=settings["split_method"],
            index=parts.read_with_place(found, _INDEX, tables.FEATURES),
            genre_parents=settings.get("genre_parents", {}),
        )

    def with_statistics(self, statistics: pa.Table, source: str) -> "FeatureSet":
        """Return the same tracks with the column mfcc_stats of a table of track_id and mfcc_stats.

        `source` names where that is from. Raises UserError where a track with features has no statistics there.
        """
        place = pc.index_in(self.index.column("track_id"), value_set=statistics.column("track_id").combine_chunks())
        found = statistics.column("mfcc_stats").combine_chunks().take(place.combine_chunks())
        index = self.index.append_column("mfcc_stats", found)
        lacking = index.filter((pc.field("status") == Status.OK.value) & pc.field("mfcc_stats").is_null())
        if len(lacking):
            raise UserError(
                f"{source} has no MFCC statistics of {len(lacking):,} tracks of {self.uri}, such as "
                f"{lacking.column('track_id')[0]}: give the features.csv of the same tracks"
            )
        return dataclasses.replace(self, index=index)

    def rows(self, split: str | None) -> pa.Table:
        """Return the rows of `index` in the given split, or all.

        Raises UserError where there are none.
        """
        if split is None:
            return self.index
        rows = self.index.filter(pc.field("split") == split)
        if not len(rows):
            there = sorted(filter(None, pc.unique(self.index.column("split")).to_pylist()))
            raise UserError(
                f"{self.uri} has no tracks in split {split!r}: "
                + (
                    f"it has {', '.join(there)}"
                    if there
                    else "its tracks have no genre: extract them from a manifest with a genre column"
                )
            )
        return rows

    def usable(self, split: str, labels: Labels = "genre") -> pa.Table:
        """Return the rows of `index` in `split` that can be learnt from: features made, genre (or `genres`) known.

        Raises UserError where there are none.
        """
        known = pc.field("genre").is_valid()
        if labels == "genres":
            known = known | pc.field("genres").is_valid()
        usable = self.rows(split).filter((pc.field("status") == Status.OK.value) & known)
        if not len(usable):
            raise UserError(f"no track in the {split} split of {self.uri} has both a genre and features")
        return usable


def table_settings(
    config: FeatureConfig, split_method: str, genre_parents: Mapping[str, str] | None = None
) -> dict[str, object]:
    """Return the metadata that every part of a FEATURES table carries; a tree of genres where there is one."""
    tree = {"genre_parents": dict(genre_parents)} if genre_parents else {}
    return {"table": "features", "features": config.to_json(), "split_method": split_method, **tree}
