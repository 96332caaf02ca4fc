"""A table in the making: a folder of Parquet part files, each written whole, that one job with one setting fills."""

import concurrent.futures
import contextlib
import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from numpy.typing import NDArray

from genreray import once, storage, tables
from genreray.ahead import map_ahead
from genreray.errors import UserError

GROUP = 32  # rows with images that are written and read at a time, 7 MB, in memory that is used again and again

_KNOWN = ["track_id", "uri", "status"]  # what a job that goes on asks of each track
_LARGE = ("mel", "mfcc")  # columns of raw bytes, which no encoding makes smaller
_FILENAME = "__filename"  # what a pyarrow dataset calls the file of a row
_READERS = 16  # footers read at a time
_MENDERS = 4  # parts rewritten at a time, some tens of megabytes each
# Tracks a part: ten seconds of work, beside the tenth of one for which a worker waits until Ray's driver, which looks
# ten times a second, has seen that it is done and given it the next.
_MOST_ROWS = 256
_MOST_SECONDS = 384 * 30.0  # of sound a part, whose features take 83 MB of the memory of one of tag's tasks
_BLOCKS_PER_CPU = 2  # where there are few tracks: all CPUs end at about the same time
_PARTS_AHEAD = 2  # some tens of megabytes each


class Parts:
    """The part files of one table below the folder `uri`.

    A part's name is a hash of the track ids of the block that a task was given: a block that is done twice overwrites
    its own file. Where a track came into two parts even so, by two jobs at once or by tasks of other blocks, `once`
    says which row counts: readers here take no other, and jobs take the others out.
    """

    def __init__(self, uri: str, schema: pa.Schema) -> None:
        self.uri = storage.absolute(uri)
        self.schema = schema

    def write(self, table: pa.Table) -> str:
        """Write `table` as one part and return its URI."""
        return self.write_groups(table.column("track_id").to_pylist(), [table])

    def write_groups(self, track_ids: Sequence[str], groups: Iterable[pa.Table]) -> str:
        """Write the rows of `track_ids`, some at a time as they come, as one part and return its URI.

        Each table becomes a row group; one of more than GROUP rows with images becomes several.
        """
        ids = hashlib.sha256("\n".join(track_ids).encode())
        uri = storage.join(self.uri, f"part-{ids.hexdigest()[:20]}.parquet")
        _write_part(uri, self.schema, (group.cast(self.schema) for group in groups))
        return uri

    def files(self) -> list[str]:
        """Return the URIs of the parts, sorted; empty where the folder does not exist.

        Raises UserError where something else lies in the folder.
        """
        if not storage.exists(self.uri):
            return []
        if not storage.is_folder(self.uri):
            raise UserError(f"{self.uri} is a file: give a folder")
        found = sorted(storage.list_files(self.uri))
        foreign = [name for name, _ in found if not _is_part(name)]
        if foreign:
            raise UserError(f"{self.uri} holds {foreign[0]}, which genreray did not make: give another folder")
        return [uri for _, uri in found]

    def check_settings(self, files: Sequence[str]) -> None:
        """Raise UserError where a part was made with other settings than this table's."""
        expected = tables.metadata_of(self.schema, self.uri)
        for uri, metadata in zip(files, _metadata(files), strict=True):
            for key in [*expected, *sorted({*metadata} - {*expected})]:
                there, here = metadata.get(key), expected.get(key)
                if there != here:
                    raise UserError(
                        f"{uri} was made with other settings ({tables.difference(key, there, here)}): "
                        "give another folder, or the same settings"
                    )

    def settle(self, files: Sequence[str]) -> pa.Table:
        """Return what is known of each track in the given parts (track_id, uri, status); leave each in one part alone.

        Killed half way it has removed only rows that do not count. Raises UserError where a part is damaged.
        """
        known = read(files, _KNOWN, self.schema, counted=False)
        if once.is_settled(known):
            return known
        places = _scan_with_place(files, _KNOWN, self.schema)
        _remove(once.superseded(places))
        return once.counted(places).select(_KNOWN)

    def remove(self, files: Sequence[str], track_ids: pa.Array) -> None:
        """Take the rows of these tracks out of the given parts, so that the job does them again."""
        places = _scan_with_place(files, _KNOWN, self.schema)
        _remove(places.filter(pc.is_in(places.column("track_id"), value_set=track_ids)))

    def ours(self) -> list[str]:
        """Return the URIs of all files in the folder, each of which is a part of this kind of table.

        Raises UserError where one is not: what --fresh deletes is asked for here first.
        """
        files = self.files()
        table = tables.metadata_of(self.schema, self.uri)["table"]
        for uri, metadata in zip(files, _metadata(files), strict=True):
            if metadata.get("table") != table:
                raise UserError(f"{uri} is no part of {table}, and --fresh deletes nothing else: give another folder")
        return files


def _remove(places: pa.Table) -> None:
    """Take the rows at `places` (part, row) out of their parts; a part that would be empty is deleted."""
    in_parts = places.set_column(places.schema.get_field_index("part"), "part", places["part"].cast(pa.string()))
    for _ in map_ahead(_remove_run, runs(in_parts), _MENDERS):
        pass


def _remove_run(run: pa.Table) -> None:
    uri = run.column("part")[0].as_py()
    table = _read_part(uri, None)
    kept = np.setdiff1d(np.arange(len(table)), run.column("row").to_numpy())
    if len(kept):
        _write_part(uri, table.schema, [table.take(kept)])
    else:
        storage.delete(uri)


def _write_part(uri: str, schema: pa.Schema, written: Iterable[pa.Table]) -> None:
    plain = [name for name in schema.names if name not in _LARGE]
    if len(plain) < len(schema):
        written = (table.slice(i, GROUP) for table in written for i in range(0, len(table), GROUP))
    # Dictionaries and compression would cost more than they save on the bytes of images: see docs/architecture.md.
    compression = {name: "none" if name in _LARGE else "lz4" for name in schema.names}
    storage.write_row_groups(uri, schema, written, use_dictionary=plain, compression=compression, store_schema=True)


def part_size(n_tracks: int, n_cpus: float, seconds: float = 0.0) -> int:
    """Return how many tracks one task does and writes as one part; `seconds` are what is decoded of each."""
    most = min(_MOST_ROWS, int(_MOST_SECONDS / max(seconds, 1.0)))
    return max(1, min(most, math.ceil(n_tracks / (_BLOCKS_PER_CPU * max(1.0, n_cpus)))))


def settings_of(files: Sequence[str]) -> dict[str, Any]:
    """Return the settings that all the given parts were made with.

    Raises UserError where two differ, or where a file is damaged or was not made by genreray.
    """
    found = _metadata(files)
    for uri, metadata in zip(files, found, strict=True):
        for key in sorted({*metadata, *found[0]}):
            if metadata.get(key) != found[0].get(key):
                raise UserError(
                    f"{uri} and {files[0]} were made with different settings "
                    f"({tables.difference(key, metadata.get(key), found[0].get(key))}): make one folder of each"
                )
    return found[0]


def read(files: Sequence[str], columns: Sequence[str], schema: pa.Schema, *, counted: bool = True) -> pa.Table:
    """Return the given columns of all the parts as one table, each track once; with `counted` false, every row.

    Raises UserError where a part is damaged.
    """
    if not files:
        return schema.empty_table().select(list(columns))
    table = _scan(files, [*dict.fromkeys([*columns, "track_id"])], schema)
    if counted and not once.is_settled(table):
        table = read_with_place(files, columns, schema)
    return table.select(list(columns))


def one_by_one(files: Sequence[str], columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the given columns of each part, of which the next are read while one is used, as one after another.

    For parts that are settled: a track that is in two of them comes twice. Raises UserError where one is damaged.
    """
    return map_ahead(lambda uri: _read_part(uri, list(columns)), files, _PARTS_AHEAD)


def read_with_place(files: Sequence[str], columns: Sequence[str], schema: pa.Schema) -> pa.Table:
    """Return what `read` does, with each row's place: `part`, the URI of its part, and `row`, its number in that."""
    found = once.counted(_scan_with_place(files, [*dict.fromkeys([*columns, "track_id", "status"])], schema))
    return found.select([*columns, "part", "row"])


def _scan_with_place(files: Sequence[str], columns: Sequence[str], schema: pa.Schema) -> pa.Table:
    table = _scan(files, [*columns, _FILENAME], schema)
    uri_of = {storage.arrow_filesystem(uri)[1].lstrip("/"): uri for uri in files}
    names = table.column(_FILENAME).combine_chunks().dictionary_encode()
    uris = pa.array([uri_of[name.lstrip("/")] for name in names.dictionary.to_pylist()], pa.string())
    parts = pa.DictionaryArray.from_arrays(names.indices, uris)
    # A scan goes through the parts one after another, each in its own order.
    starts = np.flatnonzero(np.diff(names.indices, prepend=-1))
    rows = np.arange(len(table)) - np.repeat(starts, np.diff(starts, append=len(table)))
    return table.drop_columns([_FILENAME]).append_column("part", parts).append_column("row", pa.array(rows))


@contextlib.contextmanager
def opened(uri: str) -> Iterator[pq.ParquetFile]:
    """Open a part for reading, inside a `with`; raises UserError where it is damaged, also of what is read of it."""
    # Not by a dataset, whose looking into the file first takes as long as reading it.
    fs, path = storage.arrow_filesystem(uri)
    try:
        # Of a store all ranges are asked for at once, of a disk one after another, without a copy.
        with pq.ParquetFile(path, filesystem=fs, pre_buffer=not storage.is_local(uri)) as file:
            tables.check_plain(file.schema_arrow, uri)
            yield file
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(storage.parent(uri), error) from None


def _read_part(uri: str, columns: list[str] | None) -> pa.Table:
    with opened(uri) as file:
        return file.read(columns, use_threads=False)


def part_numbers(places: pa.Table) -> NDArray[np.int32]:
    """Return a number for the part of each place: equal for equal parts, counted as they first occur."""
    encoded = places.column("part").cast(pa.string()).combine_chunks().dictionary_encode()
    numbers: NDArray[np.int32] = encoded.indices.to_numpy()
    return numbers


def runs(places: pa.Table) -> list[pa.Table]:
    """Cut `places` where the part changes."""
    starts = np.flatnonzero(np.diff(part_numbers(places), prepend=-1)).tolist()
    return [places.slice(start, end - start) for start, end in zip(starts, [*starts[1:], len(places)], strict=True)]


def _scan(files: Sequence[str], columns: list[str], schema: pa.Schema) -> pa.Table:
    fs, _ = storage.arrow_filesystem(files[0])
    paths = [storage.arrow_filesystem(uri)[1] for uri in files]
    try:
        return ds.dataset(paths, schema=schema, format="parquet", filesystem=fs).to_table(columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(storage.parent(files[0]), error) from None


def count_statuses(statuses: pa.ChunkedArray) -> dict[str, int]:
    """Return how often each status occurs, most frequent first."""
    counts = {row["values"]: row["counts"] for row in pc.value_counts(statuses).to_pylist()}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _is_part(name: str) -> bool:
    return name.startswith("part-") and name.endswith(".parquet") and "/" not in name


def _metadata(files: Sequence[str]) -> list[dict[str, Any]]:
    with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(_metadata_of_file, files))


def _metadata_of_file(uri: str) -> dict[str, Any]:
    fs, path = storage.arrow_filesystem(uri)
    try:
        schema = pq.read_schema(path, filesystem=fs)
    except FileNotFoundError as error:
        raise _unreadable(storage.parent(uri), error) from None
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: an extension type that cannot be made
        raise UserError(
            f"{uri} is not a whole Parquet file ({_first_line(error)}): delete it and run the job that made it again"
        ) from None
    tables.check_plain(schema, uri)
    return tables.metadata_of(schema, uri)


def _unreadable(folder: str, error: Exception) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(f"a part of {folder} went away while it was read: run the same command again")
    return UserError(f"{folder} has a damaged part: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return storage.without_secrets(str(error).splitlines()[0]) if str(error) else type(error).__name__
