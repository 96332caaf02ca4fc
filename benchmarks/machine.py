"""The machine that a benchmark runs on: a description of it, and holding a run to some of its CPUs."""

import contextlib
import os
import platform
from importlib import metadata
from pathlib import Path

_LIBRARIES = ("genreray", "ray", "pyarrow", "numpy", "scipy", "librosa", "soundfile", "soxr", "torch")
# What the numeric libraries read when they are loaded.
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


def describe() -> dict[str, str]:
    """Return what times depend on, by name; libraries that are not there are left out."""
    import torch  # here: jobs that are timed from their start import this module, and do without torch

    libraries = [f"{name} {version}" for name in _LIBRARIES if (version := _version(name))]
    with contextlib.suppress(ImportError):
        import soundfile

        libraries.append(f"libsndfile {soundfile.__libsndfile_version__}")
    gpu = {"GPU": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    return {
        **gpu,
        "CPU": f"{_cpu_model()}, {n_cpus()} cores",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "libraries": ", ".join(libraries),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def n_cpus() -> int:
    """Return the number of CPUs that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hold_to(cpus: int) -> None:
    """Keep this process and all that it starts to its first `cpus` CPUs, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cpus])


def one_thread_each() -> bool:
    """Give the numeric libraries of processes started from now on one thread; return whether that was so already."""
    was = all(os.environ.get(name) == value for name, value in _ONE_THREAD.items())
    os.environ.update(_ONE_THREAD)
    return was
