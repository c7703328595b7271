"""Thin adapters to training frameworks, which are imported only when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from symtheory.errors import SymtheoryError
from symtheory.monitor.watching import SymmetryMonitor


def lightning_callback(monitor: SymmetryMonitor) -> Any:
    """A callback for a ``lightning.Trainer``; it attaches the monitor to the first optimiser.

    Args:
        monitor: The monitor of the network.

    Returns:
        The callback.

    Raises:
        SymtheoryError: If Lightning is not installed.
    """
    base: Any = _framework("lightning.pytorch", "lightning").Callback

    class Watch(base):
        """Attach at the start, detach at the end."""

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            """Begin to look."""
            monitor.attach(trainer.optimizers[0])

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            """Stop looking."""
            monitor.detach()

        def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
            """Stop looking, so that the next run can attach again."""
            monitor.detach()

    return Watch()


def transformers_callback(monitor: SymmetryMonitor) -> Any:
    """A callback for a ``transformers.Trainer``.

    Args:
        monitor: The monitor of the network.

    Returns:
        The callback; it looks before the optimiser's step, while there are gradients.

    Raises:
        SymtheoryError: If Transformers is not installed.
    """
    base: Any = _framework("transformers", "transformers").TrainerCallback

    class Watch(base):
        """Look at every step."""

        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """Look if it is time."""
            monitor.step(kwargs.get("optimizer"))

    return Watch()


def _framework(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise SymtheoryError(f"the package {package}", "none installed", f"pip install {package}") from error
