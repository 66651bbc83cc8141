"""Weights of published networks: a file that fits becomes the network, all else is one sentence."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from alchemist.core.refusal import Refusal
from alchemist.measures.weights import compare, fill, located, read

KEY = "evaluate.weights.cmmd"


def network(width: int = 4, device: str = "cpu") -> nn.Module:
    with torch.device(device):
        return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))


@pytest.fixture
def stored() -> dict[str, torch.Tensor]:
    made = network()
    with torch.no_grad():
        made[1].running_mean.uniform_()
    return made.state_dict()


def refused(match: str, call: object, *arguments: object) -> None:
    with pytest.raises(Refusal, match=match) as told:
        call(*arguments)  # type: ignore[operator]
    assert str(told.value).startswith(f"{KEY} is ")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("form", ["safetensors", "zip", "old"])
def test_the_stored_tensors_become_the_networks_own(
    form: str, stored: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    halves = {name: value.half() if value.is_floating_point() else value for name, value in stored.items()}
    if form == "safetensors":
        save_file(halves, path)
    else:  # torch's form of before 2020 too, which pytorch-fid's file has
        torch.save(halves, path, _use_new_zipfile_serialization=form == "zip")
    found = fill(network(device="meta"), read(located(str(path), KEY, ""), KEY), KEY, path)
    assert not found.training
    for name, value in found.state_dict().items():
        assert value.device.type == "cpu"
        assert value.dtype == stored[name].dtype, "float32, whatever the file holds"
        assert torch.allclose(value, stored[name], atol=1e-3)
    assert not any(value.requires_grad for value in found.parameters())


def test_a_file_of_before_batches_were_counted_fits(stored: dict[str, torch.Tensor], tmp_path: Path) -> None:
    del stored["1.num_batches_tracked"]
    found = fill(network(device="meta"), stored, KEY, tmp_path).to("cpu")
    assert torch.isfinite(found(torch.ones(2, 3))).all()


def test_a_checkpoint_of_another_network_is_one_sentence(
    stored: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    file = tmp_path / "other.pth"
    refused(r"whose 0\.weight has the shape \(4, 3\).*has \(5, 3\)", fill, network(5), stored, KEY, file)
    spoilt = stored | {"2.weight": torch.zeros(1)}
    refused(r"holds 2\.weight, which the network does not have", fill, network(), spoilt, KEY, file)
    fill(network(), spoilt, KEY, file, ("2.",))
    del stored["0.bias"]
    refused(r"other\.pth', which lacks 0\.bias", fill, network(), stored, KEY, file)


def test_what_is_no_file_of_weights_is_one_sentence(tmp_path: Path) -> None:
    """Nothing in a file is executed: a pickle of anything but tensors is refused."""
    texts = {
        "a.safetensors": b"",
        "b.safetensors": b"x" * 100,
        "c.pth": b"",
        "d.pth": b"<html>not found</html>",
    }
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text)
        refused("holds no weights that can be read", read, tmp_path / name, KEY)
    torch.save({"model": {"w": torch.zeros(1)}, "epoch": 3}, tmp_path / "e.pth")
    refused("should hold tensors by name", read, tmp_path / "e.pth", KEY)
    torch.save(network(), tmp_path / "f.pth")
    refused("holds no weights that can be read", read, tmp_path / "f.pth", KEY)
    torch.jit.save(torch.jit.trace(network().eval(), torch.ones(1, 3)), tmp_path / "g.pt")
    refused("holds no weights that can be read", read, tmp_path / "g.pt", KEY)


def test_a_place_is_a_file_or_a_name_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (
        str(tmp_path),
        f"{tmp_path}/none.safetensors",
        "none.safetensors",
        "one",
        "a/b/c",
        "a/b.pth",
    ):
        refused(r"is no file here; legal is the path of a file.*OWNER/NAME", located, wrong, KEY, "w")
    # What the hub's own client finds in its cache needs no network.
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    refused(r"whose w is not here", located, "a--b/c", KEY, "w")  # no name that the hub allows
    refused(r"whose w\.bin is not here and could not be downloaded from", located, "some/net", KEY, "w.bin")
    place = tmp_path / "models--some--net" / "snapshots" / "abc"
    place.mkdir(parents=True)
    (place / "w.bin").write_bytes(b"here")
    (place.parents[1] / "refs").mkdir()
    (place.parents[1] / "refs/main").write_text("abc")
    assert located("some/net", KEY, "w.bin").read_bytes() == b"here"


def test_a_file_that_was_changed_meanwhile_is_one_sentence(tmp_path: Path) -> None:
    """References by one file and generated images by another would be mixed without a word."""
    compare({"cmmd": "ab", "lite0": "", "clip": ""}, {"cmmd": "ab", "inception": "cd"}, tmp_path)
    for noted in ({"cmmd": "cd"}, {}):
        with pytest.raises(
            Refusal, match=r"evaluate\.weights has another file for cmmd than .* and then dvc repro\.$"
        ):
            compare({"cmmd": "ab"}, noted, tmp_path)


def test_the_home_folder_may_be_written_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "w.pth").write_bytes(b"")
    assert located("~/w.pth", KEY, "") == tmp_path / "w.pth"
