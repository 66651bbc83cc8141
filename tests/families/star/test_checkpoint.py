"""The checkpoint's layout, written here by hand: every tensor finds its place, others are refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CPU
from safetensors.torch import load_file
from tiny import REPO
from torch import Tensor

from alchemist.core.refusal import Refusal
from alchemist.core.weights import Weights
from alchemist.families.star import checkpoint, published, tokenizer
from alchemist.families.star.family import FAMILY
from alchemist.families.star.generator import open_codec
from alchemist.families.star.published import PublishedConfig, PublishedTokenizer
from alchemist.families.star.settings import TokenizerSettings
from alchemist.families.star.tokenizer import Tokenizer
from alchemist.models.family import CodecSource

WHERE = "codecs.star.weights"
FOUND = Weights(WHERE, "owner/name", Path(checkpoint.FILE))
SMALL = PublishedConfig(resolution=96, scales=(1, 2, 3, 4, 5, 6), codes=64, channels=32, width=32)


def layout(config: PublishedConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of vae_ch160v4096z32.pth, for a first width and a codebook."""
    w, z, shapes = config.width, config.channels, dict[str, tuple[int, ...]]()
    widths = [w, w, 2 * w, 2 * w, 4 * w]

    def norm(name: str, width: int) -> None:
        shapes.update({f"{name}.weight": (width,), f"{name}.bias": (width,)})

    def conv(name: str, before: int, after: int, side: int = 3) -> None:
        shapes.update({f"{name}.weight": (after, before, side, side), f"{name}.bias": (after,)})

    def block(name: str, before: int, after: int) -> None:
        norm(f"{name}.norm1", before)
        conv(f"{name}.conv1", before, after)
        norm(f"{name}.norm2", after)
        conv(f"{name}.conv2", after, after)
        if before != after:
            conv(f"{name}.nin_shortcut", before, after, 1)

    def attention(name: str, width: int) -> None:
        norm(f"{name}.norm", width)
        conv(f"{name}.qkv", width, 3 * width, 1)
        conv(f"{name}.proj_out", width, width, 1)

    def middle(name: str) -> None:
        block(f"{name}.mid.block_1", 4 * w, 4 * w)
        attention(f"{name}.mid.attn_1", 4 * w)
        block(f"{name}.mid.block_2", 4 * w, 4 * w)

    conv("encoder.conv_in", 3, w)
    before = w
    for level, width in enumerate(widths):
        for number in range(2):
            block(f"encoder.down.{level}.block.{number}", before, width)
            before = width
            if level == 4:
                attention(f"encoder.down.{level}.attn.{number}", width)
        if level < 4:
            conv(f"encoder.down.{level}.downsample.conv", width, width)
    middle("encoder")
    norm("encoder.norm_out", 4 * w)
    conv("encoder.conv_out", 4 * w, z)
    conv("decoder.conv_in", z, 4 * w)
    middle("decoder")
    before = 4 * w
    for level in (4, 3, 2, 1, 0):
        for number in range(3):
            block(f"decoder.up.{level}.block.{number}", before, widths[level])
            before = widths[level]
            if level == 4:
                attention(f"decoder.up.{level}.attn.{number}", before)
        if level > 0:
            conv(f"decoder.up.{level}.upsample.conv", before, before)
    norm("decoder.norm_out", w)
    conv("decoder.conv_out", w, 3)
    shapes["quantize.ema_vocab_hit_SV"] = (10, config.codes)
    for number in range(4):
        conv(f"quantize.quant_resi.qresi_ls.{number}", z, z)
    shapes["quantize.embedding.weight"] = (config.codes, z)
    conv("quant_conv", z, z)
    conv("post_quant_conv", z, z)
    return shapes


def tensors(config: PublishedConfig, device: str = "cpu") -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        name: 0.1 * torch.randn(shape, device=device) + (0.5 if "norm" in name else 0)
        for name, shape in layout(config).items()
    }


# --- the layout ---


def test_every_tensor_of_the_published_size_finds_its_place() -> None:
    """On the meta device, by names and shapes."""
    stored = tensors(PublishedConfig(), "meta")
    model = checkpoint.converted(stored, PublishedConfig(), FOUND)
    assert sum(p.numel() for p in model.parameters()) == 108_948_355
    assert sum(t.numel() for t in stored.values()) == 108_948_355 + 10 * 4096
    named = {checkpoint.published_name(name) for name in model.state_dict()}
    assert named == set(stored) - {"quantize.ema_vocab_hit_SV"}


def test_every_tensor_lies_where_its_name_says() -> None:
    """One by one, by values, with our modules reached as the networks run them."""
    stored = tensors(SMALL)
    net = checkpoint.converted(stored, SMALL, FOUND)
    pairs = {
        "quantize.embedding.weight": net.codebook,
        "quantize.quant_resi.qresi_ls.2.weight": net.phi[2].weight,
        "quant_conv.bias": net.before.bias,
        "post_quant_conv.bias": net.after.bias,
        "encoder.conv_in.weight": net.encoder[0].weight,
        "encoder.down.2.block.0.nin_shortcut.weight": net.encoder[1][2].blocks[0].skip.weight,
        "encoder.down.4.attn.1.proj_out.weight": net.encoder[1][4].attentions[1].out.weight,
        "encoder.down.3.downsample.conv.bias": net.encoder[1][3].resize[1].bias,
        "encoder.mid.block_2.norm1.weight": net.encoder[2][2].norm1.weight,
        "encoder.mid.attn_1.qkv.weight": net.encoder[2][1].qkv.weight,
        "encoder.norm_out.weight": net.encoder[3][0].weight,
        "decoder.conv_in.weight": net.decoder[0].weight,
        "decoder.mid.block_1.conv2.bias": net.decoder[1][0].conv2.bias,
        "decoder.up.4.attn.2.norm.weight": net.decoder[2][0].attentions[2].norm.weight,
        "decoder.up.4.upsample.conv.weight": net.decoder[2][0].resize[1].weight,
        "decoder.up.3.block.0.nin_shortcut.weight": net.decoder[2][1].blocks[0].skip.weight,
        "decoder.up.0.block.2.conv1.weight": net.decoder[2][4].blocks[2].conv1.weight,
        "decoder.conv_out.weight": net.decoder[3][2].weight,
    }
    for name, ours in pairs.items():
        assert torch.equal(stored[name], ours), name


# --- files ---


def write(path: Path, config: PublishedConfig = SMALL, **changes: object) -> dict[str, Tensor]:
    stored = tensors(config)
    torch.save(stored | changes, path)
    return stored


@pytest.fixture
def at_96(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scales for images of 96 px, and the small width."""
    monkeypatch.setitem(published.SCALES, 96, SMALL.scales)
    monkeypatch.setattr(
        checkpoint, "PublishedConfig", lambda side, scales: PublishedConfig(side, scales, 64, 32, 32)
    )


@pytest.mark.parametrize("place", ["file", "folder"])
def test_a_converted_checkpoint_is_a_codec(at_96: None, tmp_path: Path, place: str) -> None:
    stored = write(tmp_path / checkpoint.FILE)
    out = tmp_path / "codec"
    out.mkdir()
    checkpoint.write(
        str(tmp_path / checkpoint.FILE if place == "file" else tmp_path), 96, out, "pools.x", WHERE
    )
    assert tokenizer.card(out)["kind"] == "published"
    opened = open_codec(out, CPU)
    assert isinstance(opened.tokenizer, PublishedTokenizer)
    assert opened.tokenizer.config == SMALL
    assert not any(p.requires_grad for p in opened.parameters())
    again = checkpoint.converted(stored, SMALL, FOUND)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), opened.parameters(), strict=True))
    images = (torch.rand(2, 96, 96, 3) * 255).to(torch.uint8).numpy()
    tokens = opened.encode(images)["tokens"]
    assert tokens.shape == (2, SMALL.tokens)
    assert set(load_file(out / tokenizer.WEIGHTS)) == set(again.state_dict())
    (out / tokenizer.WEIGHTS).write_bytes(b"other")
    with pytest.raises(Refusal, match=r"weights\.safetensors is not the file that its manifest describes"):
        open_codec(out, CPU)


def source(folder: Path, side: int) -> CodecSource:
    """Of a pool of images of `side` px; nothing is fitted to it."""

    def never(*given: object) -> Any:
        raise AssertionError(given)

    return CodecSource("pools.x", side, "digest", folder, never, never, folder / "scratch", CPU, never, never)


def test_the_family_makes_the_folder_of_the_kind_that_is_asked_for(at_96: None, tmp_path: Path) -> None:
    write(tmp_path / checkpoint.FILE)
    settings = TokenizerSettings(kind="published", weights=str(tmp_path), asset="emoji32", refit=False)
    out, assets = tmp_path / "codec", REPO / "assets/codecs"
    out.mkdir()
    told = FAMILY.make_codec(settings, source(assets, 96), out)
    assert told == f"the published tokenizer of {tmp_path}"
    assert isinstance(FAMILY.codec(out, CPU).tokenizer, PublishedTokenizer)
    with pytest.raises(
        Refusal,
        match=r"pools\.x\.resolution is 64; the published tokenizer works at 256, 512, 1024, 96 pixels",
    ):
        FAMILY.make_codec(settings, source(assets, 64), out)
    ours = tmp_path / "fitted"
    FAMILY.make_codec(settings.model_copy(update={"kind": "fitted"}), source(assets, 32), ours)
    assert isinstance(FAMILY.codec(ours, CPU).tokenizer, Tokenizer)


# --- what is refused ---


def test_a_checkpoint_of_other_shapes_is_refused_by_the_first_key() -> None:
    other = tensors(PublishedConfig(96, SMALL.scales, 64, 32, 64))
    with pytest.raises(
        Refusal, match=r"has encoder\.conv_in\.weight of the shape \(64, 3, 3, 3\), which is \(32, 3, 3, 3\)"
    ):
        checkpoint.converted(other, SMALL, FOUND)
    few = tensors(PublishedConfig(96, SMALL.scales, 32, 32, 32))
    with pytest.raises(
        Refusal, match=r"has quantize\.embedding\.weight of the shape \(32, 32\), which is \(64, 32\)"
    ):
        checkpoint.converted(few, SMALL, FOUND)


def test_a_checkpoint_with_a_tensor_too_few_or_too_many_is_refused() -> None:
    stored = tensors(SMALL)
    without = {name: value for name, value in stored.items() if name != "decoder.mid.attn_1.norm.bias"}
    with pytest.raises(Refusal, match=rf"^{WHERE} is .* lacks decoder\.mid\.attn_1\.norm\.bias"):
        checkpoint.converted(without, SMALL, FOUND)
    more = stored | {"quantize.quant_resi.qresi_ls.4.weight": torch.zeros(1)}
    with pytest.raises(Refusal, match=r"holds quantize\.quant_resi\.qresi_ls\.4\.weight, which that"):
        checkpoint.converted(more, SMALL, FOUND)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=rf"^{WHERE} is '{tmp_path}', which holds no {checkpoint.FILE}\.$"):
        checkpoint.write(str(tmp_path), 256, tmp_path, "pools.x", WHERE)
    with pytest.raises(Refusal, match=r"^pools\.x\.resolution is 32; .* works at 256, 512, 1024 pixels"):
        checkpoint.write(str(tmp_path), 32, tmp_path, "pools.x", WHERE)
