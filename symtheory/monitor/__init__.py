"""Watch a network's symmetries while it trains, in anyone's training loop."""

from symtheory.monitor.adapters import lightning_callback, transformers_callback
from symtheory.monitor.attraction import Attraction, Probe
from symtheory.monitor.reading import Reading
from symtheory.monitor.watching import SymmetryMonitor

__all__ = ["Attraction", "Probe", "Reading", "SymmetryMonitor", "lightning_callback", "transformers_callback"]
