"""The processor, the operating system and the versions of installed libraries."""

import importlib.metadata
import math
import os
import platform
from pathlib import Path

import mmtui

LIBRARIES = ("torch", "transformers", "bitsandbytes", "llama-cpp-python", "xllamacpp")


def describe() -> dict[str, str | int]:
    """Return the processor, cores, system, and versions of Python, mmtui and the libraries."""
    description: dict[str, str | int] = {
        "processor": get_processor(),
        "cores": len(get_cores()),
        "system": platform.platform(),
        "python": platform.python_version(),
        "mmtui": mmtui.__version__,
    }
    return description | {
        library: version for library in LIBRARIES if (version := get_version(library))
    }


def get_version(library: str) -> str | None:
    """Return the version of a library by its name on PyPI, or None if it is not installed."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def get_cores() -> set[int]:
    """Return the logical cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def count_cores() -> int:
    """Return the number of physical cores that this process may use, which is that of threads.

    CPU affinity, the quota of a container (cgroup v1 and v2) and OMP_NUM_THREADS are respected. A
    second thread per core does not speed up matrix products.
    """
    import psutil

    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    quota = math.ceil(min(_read_quota(), physical))
    threads = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    limit = int(threads) if threads.isdecimal() else physical
    return max(1, min(physical, len(get_cores()), quota, limit))


def get_free_memory() -> int:
    """Return the bytes of memory that programs can use without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)


def _read_quota(root: Path = Path("/sys/fs/cgroup")) -> float:
    """Return the number of cores that a container may use; infinity without a limit."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return math.inf
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max" means no limit
        return math.inf
    return cores if cores > 0 else math.inf


def get_processor() -> str:
    """Return the model name of the processor."""
    return _read_cpuinfo("model name") or platform.processor() or platform.machine()


def get_processor_flags() -> str:
    """Return the instruction sets of the processor, or its model name if they are unknown."""
    return _read_cpuinfo("flags") or _read_cpuinfo("Features") or get_processor()


def _read_cpuinfo(key: str) -> str:
    """Return a value of the first processor in /proc/cpuinfo, or an empty string."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            return next(line.split(":")[1].strip() for line in lines if line.startswith(key))
    except (OSError, IndexError, StopIteration):
        return ""
