"""Where a figure is computed: on the processor, or on a CUDA GPU when asked for."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Literal, get_args

from symtheory.errors import SymtheoryError

Device = Literal["cpu", "cuda"]
#: What a user may ask for.
CHOICES = (*get_args(Device), "auto")


def resolve(wanted: str) -> Device:
    """The device to use.

    Args:
        wanted: ``cpu``, ``cuda``, or ``auto`` for a GPU if there is one.

    Returns:
        ``cpu`` or ``cuda``.

    Raises:
        SymtheoryError: If the name is unknown, or a GPU is asked for and there is none.

    >>> resolve("cpu")
    'cpu'
    """
    if wanted not in CHOICES:
        raise SymtheoryError(f"a device among {', '.join(CHOICES)}", repr(wanted), "use --device cpu")
    if wanted == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        reason = "torch was built without CUDA" if torch.version.cuda is None else "torch sees no GPU"
        raise SymtheoryError("a CUDA GPU", f"none ({reason})", "use --device cpu")
    return "cpu"


def describe(device: Device) -> dict[str, str | int]:
    """What the device is, without saying whose it is.

    Args:
        device: ``cpu`` or ``cuda``.

    Returns:
        ``kind``, ``name`` and, for a processor, the number of ``cores`` this process may use; for a GPU the version
        of ``cuda`` and the ``memory_gib``.

    >>> sorted(describe("cpu"))
    ['cores', 'kind', 'name']
    """
    if device == "cpu":
        return {"kind": "cpu", "name": processor_name(), "cores": usable_cores()}
    import torch

    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return {
        "kind": "cuda",
        "name": properties.name,
        "cuda": str(torch.version.cuda),
        "memory_gib": round(properties.total_memory / 2**30),
    }


def usable_cores() -> int:
    """Processor cores that this process may use.

    Returns:
        At least 1.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_name() -> str:
    """Model name of the processor.

    Returns:
        The name the system gives, else the architecture.
    """
    try:
        if platform.system() == "Linux":
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
        if platform.system() == "Darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return platform.processor() or platform.machine()
