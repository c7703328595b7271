"""The command that searches a model of the reader's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_cli import Console

MODELS = """
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))

class Tokens(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Embedding(7, 4), nn.GELU(), nn.Linear(4, 2))

class Wide(nn.Linear):
    pass

def failing():
    raise ValueError("no configuration")

ready = Net()
nothing = dict
"""


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Console:
    (tmp_path / "inspected_models.py").write_text(MODELS)
    (tmp_path / "inspected_broken.py").write_text("raise RuntimeError('no data')")
    (tmp_path / "inspected_script.py").write_text("raise SystemExit(2)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return Console(capsys)


@pytest.mark.parametrize(
    ("line", "groups"),
    [
        ("inspected_models:Net --input 2x3", ["S(4)", "Z2^4"]),
        ("inspected_models:ready --input 2x3", ["S(4)", "Z2^4"]),
        ("inspected_models:Tokens --input 1x5@7", ["S(4)"]),
    ],
)
def test_a_model_by_its_name(cli: Console, line: str, groups: list[str]) -> None:
    document = cli.json(f"inspect {line}")
    assert [f["group"] for f in document["families"]] == groups
    assert document["model"] == line.split()[0]
    assert groups[0] in cli(f"inspect {line}").out


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("inspected_models --input 2x3", ["package.module:name"]),
        ("inspected_models:Nut --input 2x3", ["a model named 'inspected_models:Nut'"]),
        ("inspected_nowhere:Net --input 2x3", ["a model named 'inspected_nowhere:Net'"]),
        ("inspected_models:Wide --input 2x3", ["to make a model when called"]),
        ("inspected_models:failing --input 2x3", ["to make a model when called", "ValueError: no configuration"]),
        ("inspected_broken:Net --input 2x3", ["a module 'inspected_broken' that imports", "RuntimeError: no data"]),
        ("inspected_script:Net --input 2x3", ["a module 'inspected_script' that imports", "SystemExit: 2"]),
        ("inspected_models:Net --input 2x3@0", ["a shape such as 1x3x32x32"]),
        ("inspected_models:nothing --input 2x3", ["an nn.Module", "a dict"]),
        ("inspected_models:Net --input 2,3", ["a shape such as 1x3x32x32"]),
        ("inspected_models:Net --input 2x4", ["example inputs on which the model runs", "[(2, 4)]"]),
    ],
)
def test_mistakes_get_one_message(cli: Console, line: str, parts: list[str]) -> None:
    message = cli.refused(f"inspect {line}")
    assert all(part in message for part in parts)
