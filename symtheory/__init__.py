"""symtheory: how symmetries of the loss shape deep learning, as theorems that run."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("symtheory")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
