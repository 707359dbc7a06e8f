"""How much memory this process took at the most."""

import sys
from pathlib import Path


def peak() -> int:
    """Bytes: of the GPU where torch uses one, else of this process."""
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
