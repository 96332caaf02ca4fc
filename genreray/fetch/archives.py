"""FMA's archives: their names, sizes and checksums, as its authors publish them."""

from dataclasses import dataclass

from genreray.errors import UserError

HOST = "https://os.unil.cloud.switch.ch/fma/"
MIB = 2**20
GIB = 2**30


@dataclass(frozen=True)
class Archive:
    """A zip file of FMA; all that is in it lies in one folder."""

    folder: str
    size: int  # bytes, to the digits that are published
    sha1: str

    @property
    def file(self) -> str:
        """Return the name of the zip file."""
        return f"{self.folder}.zip"


ARCHIVES = {
    "fma-metadata": Archive("fma_metadata", 342 * MIB, "f0df49ffe5f2a6008d7dc83c6915b31835dfe733"),
    "fma-small": Archive("fma_small", round(7.2 * GIB), "ade154f733639d52e35e32f5593efe5be76c6d70"),
    "fma-medium": Archive("fma_medium", 22 * GIB, "c67b69ea232021025fca9231fc1c7c1a063ab50b"),
    "fma-large": Archive("fma_large", 93 * GIB, "497109f4dd721066b5ce5e5f250ec604dc78939e"),
    "fma-full": Archive("fma_full", 879 * GIB, "0f0ace23fbe9ba30ecb7e95f763e435ea802b8ab"),
}


def find(name: str) -> Archive:
    """Return the archive by the name that the command takes.

    Raises UserError where there is none.
    """
    if name not in ARCHIVES:
        raise UserError(f"there is no archive {name!r}: give one of {', '.join(ARCHIVES)}")
    return ARCHIVES[name]
