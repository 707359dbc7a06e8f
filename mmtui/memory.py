"""The peak memory usage of this process."""

import sys
from pathlib import Path


def measure_peak() -> int:
    """Return the peak memory in bytes: of the GPU if torch uses one, else of the process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        peak: int = torch.cuda.max_memory_allocated()
        if peak:  # it is 0 if llama.cpp runs on the CPU
            return peak
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):  # ru_maxrss would include the peak of the parent process
                return int(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
