"""A job submitted to a Ray cluster: whether this process is one, and where it must not write."""

import os
from pathlib import Path

from genreray import storage
from genreray.errors import UserError

# What Ray's job server gives the process that it starts, and no other.
_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"


def check_output(uri: str) -> None:
    """Raise UserError where a submitted job would write to a relative path.

    It runs in a temporary folder of Ray's, which nobody looks into and which is removed.
    """
    is_relative = storage.is_local(uri) and "://" not in uri and not Path(uri).expanduser().is_absolute()
    if is_relative and _VARIABLE in os.environ:
        raise UserError(
            f"{uri} is relative, and a submitted job runs in a temporary folder of Ray's, where output is lost: "
            "give an absolute path that every node can open, or a bucket (s3://...)"
        )
