from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from memformer.core import checkpoint
from memformer.core.checkpoint import CheckpointError

PARAMETERS = {"Q": torch.arange(6.0, dtype=torch.float64).view(1, 2, 3), "depths": torch.tensor([2, 1])}
HEADER = {"solver": "memformer", "law": '{"name": "isotropic", "d": 5}', "seed": "3"}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "models" / "one.safetensors"
    checkpoint.save(path, PARAMETERS, HEADER)
    return path


def test_round_trip_keeps_every_bit_and_the_header(path):
    found = checkpoint.load(path, expect=HEADER, shapes={"Q": (None, 2, 3), "depths": (2,)})
    assert found.header == HEADER
    for name, tensor in PARAMETERS.items():
        assert found.parameters[name].dtype == tensor.dtype
        assert torch.equal(found.parameters[name], tensor)


def test_views_and_gradients_are_kept_as_what_they_show(tmp_path):
    whole = torch.arange(6.0).requires_grad_()
    checkpoint.save(tmp_path / "p", {"a": whole[::2], "b": whole[::2], "e": whole.expand(2, 6)}, {})
    found = checkpoint.load(tmp_path / "p").parameters
    assert found["a"].tolist() == found["b"].tolist() == [0.0, 2.0, 4.0]
    assert found["e"].shape == (2, 6)


@pytest.mark.parametrize(
    ("expect", "shapes", "sentence"),
    [
        ({"seed": "4"}, None, "was made with seed='3', and '4' is wanted"),
        ({"steps": "4"}, None, "steps=None, and '4' is wanted"),
        (None, {"Q": (1, 2, 4), "depths": (2,)}, r"holds Q of shape \(1, 2, 3\), and \(1, 2, 4\) is wanted"),
        (None, {"Q": (1, 2), "depths": (2,)}, "holds Q of shape"),
        (None, {"Q": (1, 2, 3)}, r"holds \['Q', 'depths'\], and \['Q'\] are wanted"),
    ],
)
def test_refuses_what_does_not_fit(path, expect, shapes, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        checkpoint.load(path, expect, shapes)


@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_refuses_a_truncated_file(path, keep):
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    with pytest.raises(CheckpointError, match="damaged or no safetensors file"):
        checkpoint.load(path)


def test_refuses_other_files_and_pickles(tmp_path):
    save_file(PARAMETERS, tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="not one that memformer-bench wrote"):
        checkpoint.load(tmp_path / "foreign")
    torch.save(PARAMETERS, tmp_path / "pickle")
    with pytest.raises(CheckpointError, match="damaged or no safetensors file"):
        checkpoint.load(tmp_path / "pickle")
    with pytest.raises(FileNotFoundError, match="there is no file of parameters"):
        checkpoint.load(tmp_path / "nothing")


def test_refuses_a_newer_format(tmp_path):
    metadata = {"format": checkpoint.FORMAT, "format_version": str(checkpoint.FORMAT_VERSION + 1)}
    save_file(PARAMETERS, tmp_path / "newer", metadata)
    with pytest.raises(CheckpointError, match="has format version 2; this memformer-bench reads 1"):
        checkpoint.load(tmp_path / "newer")


def test_a_failed_save_leaves_the_old_file_and_no_rest(path, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        checkpoint.save(path, {"Q": torch.zeros(1)}, {})
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert checkpoint.load(path).header == HEADER


def test_a_scratch_folder_on_another_file_system_is_passed_over(tmp_path, monkeypatch):
    def replace_here(source, target, replace=os.replace):
        if Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target)

    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(os, "replace", replace_here)
    checkpoint.save(tmp_path / "there" / "p", PARAMETERS, HEADER, tmp_path / "scratch")
    assert checkpoint.load(tmp_path / "there" / "p").header == HEADER
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["p", "scratch", "there"]


def test_header_names_of_the_format_are_reserved(tmp_path):
    with pytest.raises(ValueError, match="reserved name 'format'"):
        checkpoint.save(tmp_path / "p", PARAMETERS, {"format": "mine"})


def test_header_holds_json(path):
    assert json.loads(checkpoint.load(path).header["law"]) == {"name": "isotropic", "d": 5}
