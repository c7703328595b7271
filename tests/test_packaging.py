"""What a user gets: the same environment from every file, complete archives, no trace of one machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))

#: Named in environment.yml for all to see; everything else comes with the package itself.
NAMED = {"hypothesis", "jupyter-book", "jupytext", "matplotlib", "sympy", "torch"}
CONDA_NAMES = {"pytorch": "torch"}


def _split(requirement: str) -> tuple[str, str]:
    """Name and version range of a plain requirement."""
    match = re.fullmatch(r"([A-Za-z0-9._-]+?)\s*([<>=!~].*)?", requirement)
    assert match, requirement
    return match[1].lower(), (match[2] or "").replace(" ", "")


def _tracked() -> list[Path]:
    """Files that git knows; a source archive has none to check."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    out = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in out.split("\0") if name and (path := ROOT / name).is_file()]


def _texts() -> list[tuple[str, str]]:
    """Name and content of every tracked text file, except locks with registry data."""
    found = []
    for path in _tracked():
        try:
            found.append((path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return found


def test_environment_names_the_ranges_of_pyproject() -> None:
    """Each package that environment.yml names has the range of pyproject.toml, and the named ones are all there."""
    wanted = dict(map(_split, PROJECT["dependencies"]))
    for extra in PROJECT["optional-dependencies"].values():
        wanted |= dict(map(_split, extra))
    plain = [_split(entry) for entry in ENVIRONMENT["dependencies"] if isinstance(entry, str)]
    named = {CONDA_NAMES.get(name, name): spec for name, spec in plain if name not in ("python", "pip")}
    assert named == {name: wanted[name] for name in NAMED}


def test_environment_installs_every_extra() -> None:
    """The pip part of environment.yml installs this package with all its extras, and nothing else."""
    (pip,) = [entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict)]
    (entry,) = pip
    match = re.fullmatch(r"-e \.\[(.*)\]", entry)
    assert match and set(match[1].split(",")) == set(PROJECT["optional-dependencies"])
    assert f'".[{match[1]}]"' in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_environment_has_the_oldest_supported_python() -> None:
    """conda gets the lowest Python that pyproject.toml admits."""
    python = next(e for e in ENVIRONMENT["dependencies"] if isinstance(e, str) and e.startswith("python="))
    assert PROJECT["requires-python"] == f">={python.removeprefix('python=')}"
    assert ENVIRONMENT["channels"] == ["conda-forge"]


def test_constraints_meet_pyproject() -> None:
    """Every direct dependency is pinned once, inside its range."""
    from packaging.requirements import Requirement

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.lower().split("==") for line in lines if line and not line.startswith("#"))
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for text in (entry for group in groups for entry in group):
        requirement = Requirement(text)
        assert requirement.name.lower() in pins, f"pin {requirement.name} in constraints.txt"
        assert requirement.specifier.contains(pins[requirement.name.lower()], prereleases=True), text


def test_citation_has_the_version_and_licence_of_pyproject() -> None:
    """CITATION.cff and pyproject.toml speak of the same release."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_archives_are_complete(tmp_path: Path) -> None:
    """Wheel and source archive build and carry every module; the wheel carries nothing else."""
    pytest.importorskip("hatchling", reason="the build backend is not installed")
    pytest.importorskip("build", reason="the build front end is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,), (source,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    in_wheel = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    with tarfile.open(source) as archive:
        in_source = {name.partition("/")[2] for name in archive.getnames()}
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "symtheory").rglob("*.py")} | {"symtheory/py.typed"}
    assert modules <= in_wheel and modules <= in_source
    assert all(name.startswith("symtheory/") for name in in_wheel)
    assert {"README.md", "LICENSE", "CITATION.cff", "pyproject.toml"} <= in_source


def test_no_trace_of_one_machine() -> None:
    """No tracked text names a folder of somebody's machine."""
    folders = ["/wo" + "rk/", "/ho" + r"me/\w", "/ro" + "ot/", "/t" + "mp/"]
    pattern = re.compile(rf"(?<![\w.}}])(?:{'|'.join(folders)})")
    beside = "../sha" + "red"
    assert [name for name, text in _texts() if pattern.search(text)] == []
    assert [name for name, text in _texts() if beside in text and name != ".ci/run"] == []


def test_no_notebooks_and_no_pickles() -> None:
    """Chapters are Markdown; results are netCDF."""
    forbidden = {".ipynb", ".pkl", ".pickle", ".pt", ".pth", ".npy", ".joblib"}
    assert [p.name for p in _tracked() if p.suffix in forbidden] == []


def test_kernel_is_the_one_of_this_environment(tmp_path: Path) -> None:
    """A kernel `python3` that the user installed elsewhere does not run the chapters."""
    pytest.importorskip("jupyter_client", reason="the book extra is not installed")
    foreign = tmp_path / "kernels/python3"
    foreign.mkdir(parents=True)
    (foreign / "kernel.json").write_text('{"argv": ["no-such-python"], "display_name": "x", "language": "python"}')
    code = (
        "from jupyter_client.kernelspec import KernelSpecManager\n"
        "print(KernelSpecManager().get_kernel_spec('python3').resource_dir)"
    )
    environment = os.environ | {"JUPYTER_DATA_DIR": str(tmp_path), "JUPYTER_PREFER_ENV_PATH": "1"}
    environment.pop("JUPYTER_PATH", None)
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert Path(run.stdout.strip()).is_relative_to(sys.prefix)
    assert "export JUPYTER_PREFER_ENV_PATH := 1" in (ROOT / "Makefile").read_text(encoding="utf-8")
