"""Packing as diffusers packs, pixels without loss, an autoencoder's latents, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import random_text
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor
from flux_helpers import TINY, images, stirred
from safetensors.torch import load_file, save_file

from alchemist.core.refusal import Refusal
from alchemist.families.flux import flow
from alchemist.families.flux.codec import LatentCodec, PixelCodec, open_codec, pack, unpack, write_codec
from alchemist.families.flux.settings import CodecSettings, FluxLaw
from alchemist.models.batch import Chance, Text

CPU = torch.device("cpu")


def test_packing_is_that_of_diffusers_and_can_be_undone() -> None:
    latents = torch.randn(2, 5, 6, 6)
    tokens = pack(latents)
    assert torch.equal(tokens, FluxPipeline._pack_latents(latents, 2, 5, 6, 6))
    assert torch.equal(unpack(tokens), latents)
    assert tokens[1, 4, 4 * 3 + 2 * 1 + 0] == latents[1, 3, 2 * 1 + 1, 2 * 1 + 0]  # token (1, 1), (c, ph, pw)


def test_pixels_are_64_tokens_of_48_values_and_come_back() -> None:
    codec, given = PixelCodec(32), images(3, side=32)
    stored = codec.encode(given.numpy())
    tokens = codec.tokens({name: torch.from_numpy(value) for name, value in stored.items()})
    assert tokens.shape == (3, *codec.shape) == (3, 64, 48)
    assert tokens.min() >= -1
    assert tokens.max() <= 1
    assert torch.equal(codec.images(tokens).permute(0, 2, 3, 1), given)
    # one token is one 4 x 4 patch
    changed = given.clone()
    changed[0, 4:8, 8:12] = 255 - changed[0, 4:8, 8:12]
    other = codec.tokens({"pixels": changed})
    assert (other != tokens).any(2).nonzero().tolist() == [[0, 8 + 2]]


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small one with random weights, laid out as a pipeline's."""
    torch.manual_seed(0)
    network = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
        block_out_channels=[8, 8], layers_per_block=1, latent_channels=4, norm_num_groups=4,
        scaling_factor=0.36, shift_factor=0.12,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("hub") / "model"
    network.save_pretrained(folder / "vae")
    return folder


def test_latents_are_scaled_and_decoded_as_the_pipeline_does(autoencoder: Path, tmp_path: Path) -> None:
    settings = CodecSettings(kind="latents", weights=str(autoencoder))
    write_codec(tmp_path, settings, 16)
    codec = open_codec(tmp_path, CPU)
    assert isinstance(codec, LatentCodec)
    given = images(11, side=16)
    stored = codec.encode(given.numpy())
    assert stored["latents"].shape == (11, 4, 8, 8)
    assert stored["latents"].dtype == np.float16
    network = AutoencoderKL.from_pretrained(autoencoder / "vae")
    with torch.no_grad():
        z = network.encode(given.permute(0, 3, 1, 2) / 127.5 - 1).latent_dist.mode()
        expected = (z - 0.12) * 0.36
        decoded = (network.decode(z).sample.clamp(-1, 1) + 1) * 127.5
    assert torch.from_numpy(stored["latents"]).float().numpy() == pytest.approx(expected.numpy(), abs=2e-3)
    tokens = codec.tokens({"latents": torch.from_numpy(stored["latents"])})
    assert tokens.shape == (11, *codec.shape) == (11, 16, 16)
    far = (codec.images(tokens).float() - decoded).abs()
    assert float(far.max()) <= 2  # of 255: latents are kept as float16
    assert torch.equal(
        torch.from_numpy(codec.reconstruct(given.numpy())).permute(0, 3, 1, 2),
        decoded.round().to(torch.uint8),
    )
    # one image at a time is the same
    alone = codec.encode(given[3:4].numpy())["latents"]
    assert alone == pytest.approx(stored["latents"][3:4], abs=2e-3)


@pytest.mark.parametrize("shift", [1.0, 3.0, "dynamic"])
def test_samples_are_those_of_the_pipeline(autoencoder: Path, tmp_path: Path, shift: object) -> None:
    """With a guidance-distilled network and precomputed captions, from the same noise to the same pixels."""
    write_codec(tmp_path, CodecSettings(kind="latents", weights=str(autoencoder)), 16)
    codec = open_codec(tmp_path, CPU)
    model = stirred(TINY.model_copy(update={"embedded_guidance": 4.0}), codec)
    text, chance = random_text(3, length=5), Chance.run(7, 0, 3)
    text = Text(text.states, torch.ones_like(text.mask), text.pooled)
    law = FluxLaw(steps=4, guidance=1.0, shift=shift, embedded_guidance=2.5)
    ours = model.sample(text, text, chance, law)
    scheduler = FlowMatchEulerDiscreteScheduler(
        **({"use_dynamic_shifting": True} if shift == "dynamic" else {"shift": shift})
    )
    model.network.set_attn_processor(FluxAttnProcessor())
    pipeline = FluxPipeline(
        scheduler, AutoencoderKL.from_pretrained(autoencoder / "vae"), None, None, None, None, model.network
    )
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        prompt_embeds=text.states, pooled_prompt_embeds=text.pooled, height=16, width=16,
        num_inference_steps=4, guidance_scale=2.5, output_type="np",
        latents=torch.from_numpy(flow.noise(chance, 1, codec.shape)[0]),
    ).images  # fmt: skip
    far = ours.permute(0, 2, 3, 1).numpy().astype(int) - np.rint(theirs * 255)
    assert np.abs(far).max() <= 1
    assert ours.float().std() > 10


def test_what_cannot_be_had_is_refused_in_a_sentence(autoencoder: Path, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"codecs.flux.weights is '.*nowhere', which does not exist"):
        write_codec(tmp_path, CodecSettings(kind="latents", weights=str(autoencoder / "nowhere")), 16)
    with pytest.raises(Refusal, match="a multiple of 4 is legal"):
        write_codec(tmp_path, CodecSettings(kind="latents", weights=str(autoencoder)), 18)
    with pytest.raises(Refusal, match="has no manifest"):
        open_codec(autoencoder, CPU)
    with pytest.raises(ValueError, match="weights should be named"):
        CodecSettings(kind="latents")


def test_an_autoencoder_that_is_not_whole_is_refused(autoencoder: Path, tmp_path: Path) -> None:
    """Its library would fill what is missing with random values, and only warn."""
    shutil.copytree(autoencoder, tmp_path / "model")
    file = tmp_path / "model/vae/diffusion_pytorch_model.safetensors"
    stored = load_file(file)
    settings = CodecSettings(kind="latents", weights=str(tmp_path / "model"))
    bias = "encoder.conv_in.bias"
    for changed, words in (
        ({bias: torch.zeros(9)}, rf"whose vae has {bias} of the shape \(9,\), which is \(8,\) by its config"),
        ({}, rf"whose vae lacks {bias}"),
    ):
        save_file({name: value for name, value in stored.items() if name != bias} | changed, file)
        with pytest.raises(Refusal, match=rf"^codecs\.flux\.weights is .*{words}"):
            write_codec(tmp_path / "codec", settings, 16)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(Refusal, match=r"^codecs\.flux\.weights is .*whose vae cannot be read: "):
        write_codec(tmp_path / "codec", settings, 16)
    assert not (tmp_path / "codec").exists()


def test_a_folder_that_was_changed_is_refused(tmp_path: Path) -> None:
    write_codec(tmp_path, CodecSettings(), 32)
    assert open_codec(tmp_path, CPU).shape == (64, 48)
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(Refusal, match="not the file"):
        open_codec(tmp_path, CPU)
