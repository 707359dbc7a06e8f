"""The peak memory usage of this process."""

import sys
from pathlib import Path


def measure_peak() -> int:
    """Return the peak in bytes: of the GPU if torch uses one, else of the process's RAM."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        most: int = torch.cuda.max_memory_allocated()
        if most:  # llama.cpp runs on the CPU all the same
            return most
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):  # not ru_maxrss, which begins with the parent's
                return int(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
