import ctypes
import errno
import importlib.util
import subprocess
import sys

import numba.core.caching
import numpy as np
import pytest

from genreray.machine_code import callback, compiled

LOOP = """
def double(values, out):
    for i in range(len(out)):
        out[i] = 2 * values[i]

def triple(value):
    return 3 * value
"""


@pytest.fixture
def load(tmp_path):
    """Makes the functions of LOOP, in a file of its own, as a new process would see it."""
    path = tmp_path / "loops.py"
    path.write_text(LOOP)

    def load():
        spec = importlib.util.spec_from_file_location("loops", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def double(load):
    """Makes one of them."""
    return lambda: load().double


@pytest.fixture
def triple(load):
    """Makes the other."""
    return lambda: load().triple


def doubled(function):
    out = np.empty(5, np.float32)
    function(np.arange(5, dtype=np.float32), out)
    return out.tolist()


EXPECTED = [0, 2, 4, 6, 8]


def test_what_was_compiled_is_there_for_the_next_process(double):
    first, second = compiled(double()), compiled(double())
    assert doubled(first) == doubled(second) == EXPECTED
    assert sum(first._fast.stats.cache_hits.values()) == 0
    assert sum(second._fast.stats.cache_hits.values()) == 1
    assert sum(second._fast.stats.cache_misses.values()) == 0


def test_each_type_of_array_is_compiled_for(double):
    fast = compiled(double())
    assert doubled(fast) == EXPECTED
    out = np.empty(3)
    fast(np.arange(6.0)[::2], out)
    assert out.tolist() == [0, 4, 8]


@pytest.mark.parametrize("pattern", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:-20], lambda content: b"x" * 500])
def test_a_damaged_file_costs_no_more_than_compiling(double, tmp_path, pattern, damage):
    doubled(compiled(double()))
    (kept,) = tmp_path.rglob(pattern)
    kept.write_bytes(damage(kept.read_bytes()))
    fast = compiled(double())
    assert doubled(fast) == doubled(fast) == EXPECTED


def test_a_full_disk_costs_no_more_than_compiling(double, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(numba.core.caching.IndexDataCacheFile, "_save_data", full)
    fast = compiled(double())
    assert doubled(fast) == doubled(fast) == EXPECTED


def test_what_has_no_folder_is_compiled():
    namespace = {}
    exec(LOOP, namespace)
    assert doubled(compiled(namespace["double"])) == EXPECTED


def tripled(function):
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(callback(function, "int64(int64)").address)(14)


def test_what_c_calls_is_there_for_the_next_process(triple, tmp_path, monkeypatch):
    assert tripled(triple()) == 42
    assert len(list(tmp_path.rglob("*.nbc"))) == 1
    monkeypatch.setattr(numba.core.compiler, "compile_extra", None)
    assert tripled(triple()) == 42


@pytest.mark.parametrize("pattern", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:-20], lambda content: b"x" * 500])
def test_a_damaged_file_of_what_c_calls_costs_no_more_than_compiling(triple, tmp_path, pattern, damage):
    assert tripled(triple()) == 42
    (kept,) = tmp_path.rglob(pattern)
    kept.write_bytes(damage(kept.read_bytes()))
    assert tripled(triple()) == 42


def test_what_c_calls_is_compiled_where_there_is_no_folder_or_no_room(triple, monkeypatch):
    namespace = {}
    exec(LOOP, namespace)
    assert tripled(namespace["triple"]) == 42

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(numba.core.caching.IndexDataCacheFile, "_save_data", full)
    assert tripled(triple()) == 42


def test_what_is_wrong_with_a_function_for_c_is_raised():
    with pytest.raises(numba.core.errors.TypingError):
        callback(lambda value: value.missing, "int64(int64)")


def test_what_is_wrong_with_the_call_is_raised(double):
    with pytest.raises(numba.core.errors.TypingError):
        compiled(double())(None, None)


def test_numba_is_not_loaded_before_it_is_needed():
    code = "import sys; from genreray import audio, features; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
