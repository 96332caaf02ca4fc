"""Stores that are not this machine, for tests: one that fails when told to, and one that works as buckets do."""

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class FaultyFileSystem(MemoryFileSystem):
    """A store of which each call by the name `method` raises the next of `faults`, and then works."""

    protocol = "faulty"
    store: dict = {}  # noqa: RUF012 (as MemoryFileSystem has it)
    pseudo_dirs = [""]  # noqa: RUF012
    method, faults = "", []
    calls = 0

    def __getattribute__(self, name):
        cls = FaultyFileSystem
        if name == cls.method:
            cls.calls += 1
            if cls.faults:
                raise cls.faults.pop(0)
        return super().__getattribute__(name)


class BucketFileSystem(FaultyFileSystem):
    """The same as object stores are: without folders, and remembering listings."""

    protocol = ("bucket", "s3")
    listings: dict = {}  # noqa: RUF012

    def find(self, path, **options):
        key = path, *options.items()
        if key not in self.listings:
            self.listings[key] = super().find(path, **options)
        return self.listings[key]

    def invalidate_cache(self, path=None):
        self.listings.clear()


fsspec.register_implementation("faulty", FaultyFileSystem)
fsspec.register_implementation("bucket", BucketFileSystem)


def fail(method, *faults):
    """Let the next calls of `method` raise `faults`; return the class, which counts those calls."""
    FaultyFileSystem.method, FaultyFileSystem.faults, FaultyFileSystem.calls = method, list(faults), 0
    return FaultyFileSystem


def empty():
    fail("")
    for store in (MemoryFileSystem, FaultyFileSystem):
        store.store.clear()
        store.pseudo_dirs[:] = [""]
    BucketFileSystem.listings.clear()
