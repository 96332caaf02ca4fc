"""The only filesystem code: a URI (local path, s3://, any fsspec URL) to bytes, files, listings and JSON."""

import json
from typing import Any

import pyarrow as pa

from genreray.errors import UserError
from genreray.storage.access import arrow_filesystem, exists, faults, filesystem, is_file, is_folder
from genreray.storage.journal import Journal, journal
from genreray.storage.listing import list_files, list_sizes
from genreray.storage.reading import open_track, read_bytes, read_first
from genreray.storage.reasons import without_secrets
from genreray.storage.removing import delete, delete_files
from genreray.storage.rewriting import Rewriting, Stamp, check_rewritable, remove_left_over, rewriting, stamp
from genreray.storage.s3 import check_buckets
from genreray.storage.streams import output_filesystem
from genreray.storage.uris import absolute, is_local, join, name, parent, refuse_password, relative
from genreray.storage.writing import check_writable, make_folder, write_bytes, write_pieces, write_row_groups

__all__ = [
    "Journal",
    "Rewriting",
    "Stamp",
    "absolute",
    "arrow_filesystem",
    "check_buckets",
    "check_rewritable",
    "check_writable",
    "delete",
    "delete_files",
    "exists",
    "filesystem",
    "is_file",
    "is_folder",
    "is_local",
    "join",
    "journal",
    "list_files",
    "list_sizes",
    "make_folder",
    "name",
    "open_file",
    "open_track",
    "output_filesystem",
    "parent",
    "read_bytes",
    "read_first",
    "read_json",
    "refuse_password",
    "relative",
    "remove_left_over",
    "rewriting",
    "stamp",
    "without_secrets",
    "write_bytes",
    "write_json",
    "write_parquet",
    "write_pieces",
    "write_row_groups",
    "write_text",
]


def open_file(uri: str, mode: str = "rb", **options: Any) -> Any:
    """Return an open file, as `open` does.

    Raises UserError where it is missing or may not be opened.
    """
    fs, path = filesystem(uri)
    with faults(uri, "opened"):
        return fs.open(path, mode, **options)


def write_text(uri: str, text: str) -> None:
    """Write a whole text file in UTF-8, as `write_bytes` does."""
    write_bytes(uri, text.encode())


def write_json(uri: str, value: Any) -> None:
    """Write `value` as indented JSON, as `write_bytes` does."""
    write_text(uri, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(uri: str) -> Any:
    """Return the JSON value in the file.

    Raises UserError where the file is missing or is not JSON.
    """
    with open_file(uri) as file, faults(uri, "read"):
        content = file.read()
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{uri} is not valid JSON: {error}") from error


def write_parquet(uri: str, table: pa.Table, **options: Any) -> None:
    """Write `table` as one Parquet file, as `write_row_groups` does."""
    write_row_groups(uri, table.schema, [table], **options)
