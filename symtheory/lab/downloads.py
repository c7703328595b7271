"""One file of a data set from the network into the cache: https, verified, whole or not there at all.

Pooch fetches it beside its target and renames it once its SHA-256 is right. What was fetched before an interruption
stays, so that the next run goes on with the next file.
"""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from symtheory.errors import SymtheoryError
from symtheory.lab.catalogue import Parcel
from symtheory.lab.files import write_atomic

#: Seconds without a byte after which a mirror counts as dead.
PATIENCE = 30


class Bar:
    """A progress bar on a terminal, as pooch drives it; nothing where the errors go to a file.

    Args:
        name: What is being downloaded.
    """

    def __init__(self, name: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
        self._task = self._progress.add_task(name, total=None)
        self._total: int | None = None

    @property
    def total(self) -> int | None:
        """Bytes to come."""
        return self._total

    @total.setter
    def total(self, value: int) -> None:
        self._total = value
        self._progress.update(self._task, total=value)
        self._progress.start()

    def update(self, count: int) -> None:
        """Move on.

        Args:
            count: Bytes that came.
        """
        self._progress.update(self._task, advance=count)

    def reset(self) -> None:
        """Back to the start; pooch does so at the end, before it fills the bar."""
        self._progress.reset(self._task)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()


def pooch_module() -> Any:
    """The library that downloads.

    Returns:
        The module.

    Raises:
        SymtheoryError: If it is not installed.
    """
    try:
        import pooch
    except ImportError as error:
        remedy = "install it with pip install 'symtheory[data]', or put the files under $SYMTHEORY_DATA"
        raise SymtheoryError("pooch, to download data sets", "none", remedy) from error
    pooch.get_logger().setLevel("ERROR")
    return pooch


def cache() -> Path:
    """Where downloads are kept.

    Returns:
        ``symtheory/data`` in the cache folder of the user.
    """
    return Path(pooch_module().os_cache("symtheory")) / "data"


def download(parcel: Parcel, folder: Path, needed: str) -> Path:
    """Fetch from the first mirror that has it, unless it is there.

    Args:
        parcel: What to fetch.
        folder: Where to put it.
        needed: What it is fetched for, as a path below ``$SYMTHEORY_DATA``.

    Returns:
        The verified file.

    Raises:
        SymtheoryError: If no mirror gives the right bytes; nothing is left behind then.
    """
    pooch = pooch_module()
    told = []
    for mirror in parcel.mirrors:
        bar = Bar(parcel.name)
        fetch = pooch.HTTPDownloader(progressbar=bar, timeout=PATIENCE)
        try:
            return Path(
                pooch.retrieve(
                    mirror + parcel.name, f"sha256:{parcel.sha256}", parcel.name, path=folder, downloader=fetch
                )
            )
        except (OSError, ValueError) as error:  # of requests, the disk; of pooch, when the digest is another
            told.append(f"{mirror} gave {_reason(error)}")
        finally:
            bar.close()
    raise SymtheoryError(
        f"{needed} under $SYMTHEORY_DATA, or a network to download {parcel.name} from",
        "; ".join(told),
        f"go online and run again, or put {needed} into a folder and name that in $SYMTHEORY_DATA",
    )


def unpack(archive: Path, names: tuple[str, ...], folder: Path) -> None:
    """Take files out of a verified archive and remove it.

    Args:
        archive: A packed tar file.
        names: Names of the files, wherever in the archive they lie.
        folder: Where to put them.

    Raises:
        SymtheoryError: If one is not in it.
    """
    left = set(names)
    with tarfile.open(archive) as tar:
        for member in tar:
            name = Path(member.name).name
            content = tar.extractfile(member) if name in left else None
            if content is not None:
                write_atomic(folder / name, content.read())
                left.discard(name)
    if left:
        raise SymtheoryError(f"{', '.join(sorted(left))} in {archive}", "an archive without", "remove it and run again")
    archive.unlink()


def _reason(error: Exception) -> str:
    """The kind of failure in few words."""
    text = str(error)
    if "hash" in text.lower():
        return "other bytes than the published ones, or not all of them"
    return f"no answer ({type(error).__name__})"
