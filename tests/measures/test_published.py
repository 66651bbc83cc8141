"""Published networks of their real architectures with random weights, beside second implementations."""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cleanfid.resize import build_resizer
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.settings.evaluation import Further, WeightsSettings
from alchemist.measures import published
from alchemist.measures.features import extract, extractor

CPU = torch.device("cpu")
BLOCKS = 3  # of the networks that are compared


def random_state(network: torch.nn.Module, seed: int) -> dict[str, Tensor]:
    """Values under which a network that lies on the device meta neither dies out nor explodes.

    Zeros, stored as one, in the blocks behind those that are compared, which no image goes through.
    """
    rng, out = torch.Generator().manual_seed(seed), {}
    block = torch.randn(1 << 20, generator=rng)  # repeated: faster than as many draws
    for name, tensor in network.state_dict().items():
        count, last = tensor.numel(), name.rsplit(".", 1)[-1]
        place = re.search(r"blocks\.(\d+)\.", name)
        if place is not None and int(place[1]) >= BLOCKS:
            out[name] = torch.zeros(()).expand(tensor.shape)
            continue
        values = block[:count] if count <= len(block) else block.repeat(-(-count // len(block)))[:count]
        values = values.reshape(tensor.shape)
        if last == "num_batches_tracked":
            values = torch.zeros((), dtype=torch.long)
        elif last == "running_var" or (tensor.ndim == 1 and last in ("weight", "gamma")):
            values = 1 + 0.1 * values.clamp(-3, 3)
        elif tensor.ndim > 1:
            values = values * (2 / tensor[0].numel()) ** 0.5 if tensor.ndim != 3 else values * 0.02
        else:
            values = 0.1 * values
        out[name] = values.clone()
    return out


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Smooth random images of another size than any network takes."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (3, 9, 9, 3), dtype=np.uint8)
    return np.stack(
        [np.asarray(Image.fromarray(x).resize((480, 480), Image.Resampling.BICUBIC)) for x in small]
    )


# --- Inception ---


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict of pytorch-fid's InceptionV3, in torch's form of its time."""
    path = tmp_path_factory.mktemp("inception") / "pt_inception.pth"
    torch.save(random_state(published.inception(), 0), path, _use_new_zipfile_serialization=False)
    return path


@pytest.fixture(scope="module")
def pytorch_fid(inception_file: Path) -> Any:
    """clean-fid's own pytorch-fid, which looks for the file where torch keeps downloads."""
    from cleanfid import inception_pytorch

    stored = torch.load(inception_file, weights_only=True)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(inception_pytorch, "load_state_dict_from_url", lambda *a, **k: stored)
        return inception_pytorch.InceptionV3(output_blocks=[3], resize_input=False).eval()


def test_fid_pytorch_has_the_features_and_the_resizing_of_pytorch_fid(
    inception_file: Path, pytorch_fid: Any, pictures: np.ndarray
) -> None:
    by = extractor("inception", 64, CPU, WeightsSettings(inception=str(inception_file)))
    found = extract(pictures, by, 2)
    # Bilinear without antialias, within the net as pytorch-fid has it.
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255
    resized = torch.nn.functional.interpolate(x, (299, 299), mode="bilinear", align_corners=False)
    with torch.no_grad():
        wanted = pytorch_fid(resized)[0].squeeze(-1).squeeze(-1).numpy()
    assert found.shape == (3, 2048)
    assert by.digest == files.sha256(inception_file)
    assert found.std(axis=0).mean() > 1e-3, "images differ"
    assert np.allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())
    assert np.array_equal(by.resize(pictures[0]), build_resizer("legacy_pytorch")(pictures[0]))


def test_fid_clean_has_clean_fids_resizing_and_scale(
    inception_file: Path, pytorch_fid: Any, pictures: np.ndarray, tmp_path: Path
) -> None:
    """Beside clean-fid's own reader of TorchScript, given the same network in that form."""
    from cleanfid.inception_torchscript import InceptionV3W

    class Layers(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(*pytorch_fid.blocks)

        def forward(self, x: Tensor) -> Tensor:
            return self.layers(x)

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(Layers().eval(), torch.zeros(1, 3, 299, 299), check_trace=False)
        torch.jit.save(traced, tmp_path / "inception-2015-12-05.pt")
        theirs = InceptionV3W(str(tmp_path), download=False)
    resize, one = build_resizer("clean"), pictures[:1]
    x = torch.from_numpy(resize(one[0])[None]).permute(0, 3, 1, 2)
    with torch.no_grad():
        wanted = theirs(x).numpy()
    places = WeightsSettings(inception=str(inception_file))
    clean, other = (
        extract(one, extractor(name, 64, CPU, places), 1) for name in ("inception_clean", "inception")
    )
    assert np.allclose(clean, wanted, atol=1e-4 * np.abs(wanted).max())
    assert np.abs(clean - other).max() > 10 * np.abs(clean - wanted).max(), "the two are not the same figure"


# --- DINOv2 ---


def test_dinov2_b_is_transformers_own(pictures: np.ndarray, tmp_path: Path) -> None:
    """The class embedding of ViT-B/14, of a file with positions for 518 px and what only training needs.

    Beside a second implementation, both cut to their first blocks once the whole is loaded.
    """
    from transformers import Dinov2Config, Dinov2Model

    state = random_state(published.dinov2("dinov2_vitb14"), 1)
    state["pos_embed"] = torch.randn(1, 1370, 768, generator=torch.Generator().manual_seed(2)) * 0.02
    torch.save(state | {"mask_token": torch.zeros(1, 768)}, tmp_path / "b.pth")
    by = extractor("dinov2_vitb14", 64, CPU, WeightsSettings(dinov2_vitb14=str(tmp_path / "b.pth")))
    assert len(by.network.body.blocks) == 12  # type: ignore[attr-defined]
    by.network.body.blocks = by.network.body.blocks[:BLOCKS]  # type: ignore[attr-defined]
    found = extract(pictures, by, 2)

    # In the layout of the hub's facebook/dinov2-base.
    named = {
        "embeddings.cls_token": state["cls_token"],
        "embeddings.mask_token": torch.zeros(1, 768),
        "embeddings.position_embeddings": published.resampled(state["pos_embed"], 16),
        "embeddings.patch_embeddings.projection.weight": state["patch_embed.proj.weight"],
        "embeddings.patch_embeddings.projection.bias": state["patch_embed.proj.bias"],
        "layernorm.weight": state["norm.weight"],
        "layernorm.bias": state["norm.bias"],
    }
    for i in range(BLOCKS):
        ours, other = f"blocks.{i}", f"encoder.layer.{i}"
        for kind in ("weight", "bias"):
            joined = state[f"{ours}.attn.qkv.{kind}"].chunk(3)
            for part, values in zip(("query", "key", "value"), joined, strict=True):
                named[f"{other}.attention.attention.{part}.{kind}"] = values.clone()
            named[f"{other}.attention.output.dense.{kind}"] = state[f"{ours}.attn.proj.{kind}"]
            for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                named[f"{other}.{name}.{kind}"] = state[f"{ours}.{name}.{kind}"]
        for number in (1, 2):
            named[f"{other}.layer_scale{number}.lambda1"] = state[f"{ours}.ls{number}.gamma"]
    config = Dinov2Config(image_size=224, patch_size=14, num_hidden_layers=BLOCKS)
    theirs = second(Dinov2Model, config, named, tmp_path / "second")
    # dgm-eval: Pillow's bicubic to whole grey levels, ImageNet's mean and deviation.
    sized = [np.asarray(Image.fromarray(x).resize((224, 224), Image.Resampling.BICUBIC)) for x in pictures]
    x = torch.from_numpy(np.stack(sized)).permute(0, 3, 1, 2) / 255
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        hidden = theirs((x - mean[:, None, None]) / deviation[:, None, None]).last_hidden_state
    wanted = hidden[:, 0].numpy()
    assert found.shape == (3, 768)
    assert found.std(axis=0).mean() > 1e-3
    assert np.allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


def second(model: Any, config: Any, named: dict[str, Tensor], folder: Path) -> Any:
    """A model of transformers with the tensors of a checkpoint in the hub's layout, all of them used."""
    folder.mkdir()
    config.save_pretrained(folder)
    save_file({name: value.contiguous() for name, value in named.items()}, folder / "model.safetensors")
    found, told = model.from_pretrained(folder, output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    return found.eval()


def test_positions_are_resampled_as_dinov2_does_it() -> None:
    """Cell i of the new grid is where (i + 1/2) / factor - 1/2 of the old is, by the factor 16.1 / 37."""
    ramp = torch.arange(37.0).repeat(37, 1)
    old = torch.cat([torch.full((1, 1, 2), 7.0), torch.stack([ramp, ramp.T], -1).reshape(1, 1369, 2)], 1)
    new = published.resampled(old, 16)
    assert new.shape == (1, 257, 2)
    assert new[0, 0].tolist() == [7.0, 7.0]
    grid = new[0, 1:].reshape(16, 16, 2)
    wanted = (torch.arange(16) + 0.5) * 37 / 16.1 - 0.5
    inner = slice(1, -1)  # at the edges the old grid ends
    for found in (grid[3, inner, 0], grid[inner, 3, 1]):  # torch's cubic keeps a line but nearly
        assert (found - wanted[inner]).abs().max() < 0.06
        assert (found - wanted[inner]).mean().abs() < 0.02, "by 16 / 37 it would be 0.1"
    dot = torch.zeros(1, 1370, 1)
    dot[0, 1 + 18 * 37 + 18] = 1
    assert (published.resampled(dot, 16).abs() > 1e-6).sum() <= 4, "no antialias: a few cells see it"
    assert torch.equal(published.resampled(new, 16), new)
    for other in (torch.zeros(1, 12, 2), torch.zeros(5)):
        assert published.resampled(other, 16) is other  # which will not fit


# --- CMMD ---


def test_the_embeddings_of_cmmd_are_transformers_own_normalised(pictures: np.ndarray, tmp_path: Path) -> None:
    """ViT-L/14@336 with QuickGELU, of a file of a whole CLIP in half precision, cut as above."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    def half(value: Tensor) -> Tensor:  # but for the zeros of blocks that are cut: they would fill memory
        return value.half() if value.is_contiguous() else value

    state = {name: half(value) for name, value in random_state(published.clip_tower(), 3).items()}
    path = tmp_path / "clip.pt"
    torch.save({f"visual.{name}": x for name, x in state.items()} | {"logit_scale": torch.ones(())}, path)
    by = extractor("cmmd", 64, CPU, WeightsSettings(cmmd=str(path)))
    blocks = by.network.body.transformer.resblocks  # type: ignore[attr-defined]
    assert len(blocks) == 24
    by.network.body.transformer.resblocks = blocks[:BLOCKS]  # type: ignore[attr-defined]
    found = extract(pictures, by, 2)

    config = CLIPVisionConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=BLOCKS, num_attention_heads=16,
        projection_dim=768, image_size=336, patch_size=14, hidden_act="quick_gelu",
    )  # fmt: skip
    root = "vision_model."
    named = {  # in the layout of the hub's openai/clip-vit-large-patch14-336
        f"{root}embeddings.class_embedding": state["class_embedding"],
        f"{root}embeddings.patch_embedding.weight": state["conv1.weight"],
        f"{root}embeddings.position_embedding.weight": state["positional_embedding"],
        "visual_projection.weight": state["proj"].T,
    }
    for kind in ("weight", "bias"):
        named[f"{root}pre_layrnorm.{kind}"] = state[f"ln_pre.{kind}"]
        named[f"{root}post_layernorm.{kind}"] = state[f"ln_post.{kind}"]
        for i in range(BLOCKS):
            ours, other = f"transformer.resblocks.{i}", f"{root}encoder.layers.{i}"
            for part, rows in zip("qkv", state[f"{ours}.attn.in_proj_{kind}"].chunk(3), strict=True):
                named[f"{other}.self_attn.{part}_proj.{kind}"] = rows.clone()
            named[f"{other}.self_attn.out_proj.{kind}"] = state[f"{ours}.attn.out_proj.{kind}"]
            named[f"{other}.layer_norm1.{kind}"] = state[f"{ours}.ln_1.{kind}"]
            named[f"{other}.layer_norm2.{kind}"] = state[f"{ours}.ln_2.{kind}"]
            named[f"{other}.mlp.fc1.{kind}"] = state[f"{ours}.mlp.c_fc.{kind}"]
            named[f"{other}.mlp.fc2.{kind}"] = state[f"{ours}.mlp.c_proj.{kind}"]
    floats = {name: value.float() for name, value in named.items()}
    theirs = second(CLIPVisionModelWithProjection, config, floats, tmp_path / "second")
    sized = torch.from_numpy(np.stack([by.resize(x) for x in pictures])).permute(0, 3, 1, 2) / 255
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    deviation = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    with torch.no_grad():
        wanted = torch.nn.functional.normalize(
            theirs((sized - mean) / deviation).image_embeds, dim=-1
        ).numpy()
    assert found.shape == (3, 768)
    assert found.std(axis=0).mean() > 3e-4
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


# --- places and shapes ---


def test_every_network_has_its_published_size() -> None:
    """Parameters as published, those of DINOv2 less the positions that 224 px do not have."""
    spared = (1370 - 257) * np.array([1024, 768])
    sizes = {
        "inception": sum(value.numel() for value in published.inception().parameters()),
        "l": sum(value.numel() for value in published.dinov2("dinov2_vitl14").parameters()) + spared[0],
        "b": sum(value.numel() for value in published.dinov2("dinov2_vitb14").parameters()) + spared[1],
        "clip": sum(value.numel() for value in published.clip_tower().parameters()),
    }
    assert sizes == {"inception": 23_850_960, "l": 304_367_616, "b": 86_579_712, "clip": 304_293_888}


SIDES: dict[Further, int] = {"inception": 299, "inception_clean": 299, "dinov2_vitl14": 224, "cmmd": 336}


@pytest.mark.parametrize("name", SIDES)
def test_resizing_is_clean_fids_or_pillows_at_the_networks_size(name: Further, pictures: np.ndarray) -> None:
    found = published.resizer(name)(pictures[0])
    assert found.shape == (SIDES[name], SIDES[name], 3)
    assert (found >= 0).all()
    assert (found <= 255).all()
    whole = np.array_equal(found, np.round(found))
    assert whole == (name == "dinov2_vitl14"), "whole grey levels in dgm-eval alone"
    # What a checkerboard of single pixels becomes tells antialias (grey) from none (a pattern).
    board = np.zeros((672, 672, 3), dtype=np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255
    spread = float(np.std(published.resizer(name)(board)[20:-20, 20:-20]))
    assert spread > 20 if name == "inception" else spread < 8


def test_weights_of_another_size_are_one_sentence(tmp_path: Path) -> None:
    """ViT-B in the place of ViT-L, registers in the place of none, a CLIP for 224 px in that for 336."""
    shapes = {name: value.shape for name, value in published.dinov2("dinov2_vitb14").state_dict().items()}
    small = {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}
    torch.save(small, tmp_path / "b.pth")
    with pytest.raises(
        Refusal, match=r"weights\.dinov2_vitl14 is .*b\.pth has cls_token of the shape .*768\)"
    ):
        extractor("dinov2_vitl14", 64, CPU, WeightsSettings(dinov2_vitl14=str(tmp_path / "b.pth")))
    torch.save(small | {"register_tokens": torch.zeros(1, 4, 768)}, tmp_path / "reg.pth")
    with pytest.raises(Refusal, match=r"holds register_tokens, which that network does not have"):
        extractor("dinov2_vitb14", 64, CPU, WeightsSettings(dinov2_vitb14=str(tmp_path / "reg.pth")))
    with pytest.raises(Refusal, match=r"evaluate\.weights\.inception is .*lacks Conv2d_1a_3x3"):
        extractor("inception_clean", 64, CPU, WeightsSettings(inception=str(tmp_path / "b.pth")))
    with pytest.raises(Refusal, match=r"evaluate\.weights\.cmmd is .*lacks class_embedding"):
        extractor("cmmd", 64, CPU, WeightsSettings(cmmd=str(tmp_path / "b.pth")))


def test_networks_take_nothing_from_the_global_random_state(inception_file: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    extractor("inception", 64, CPU, WeightsSettings(inception=str(inception_file)))
    published.dinov2("dinov2_vitb14")
    published.clip_tower()
    assert torch.equal(torch.rand(3), expected)
