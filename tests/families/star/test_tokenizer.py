"""The tokenizer: exact residual pyramid, prefixes, round trips, and a fit that learns."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import CPU

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch
from alchemist.core.state import all_finite
from alchemist.families.star import tokenizer, tokenizer_fit
from alchemist.families.star.generator import StarCodec
from alchemist.families.star.settings import FitSettings
from alchemist.families.star.tokenizer import Tokenizer, TokenizerConfig
from alchemist.models.pixels import psnr, to_float
from alchemist.pools.emoji import compose


def test_resampling_matrices_are_torchs_own() -> None:
    picture = torch.randn(2, 64, 3)
    square = picture.transpose(1, 2).unflatten(2, (8, 8))
    for side in (1, 2, 4, 8):
        wanted = F.interpolate(square, size=(side, side), mode="area").flatten(2).transpose(1, 2)
        torch.testing.assert_close(tokenizer.area_matrix(8, side) @ picture, wanted)
        small = wanted.transpose(1, 2).unflatten(2, (side, side))
        wanted = F.interpolate(small, size=(8, 8), mode="bicubic").flatten(2).transpose(1, 2)
        back = small.flatten(2).transpose(1, 2)
        torch.testing.assert_close(tokenizer.bicubic_matrix(8, side) @ back, wanted, rtol=1e-4, atol=1e-5)


def test_quantisation_takes_the_nearest_code_of_each_residual(codes: Tokenizer) -> None:
    features = torch.randn(3, 16, 8)
    maps, total = codes.quantise(features)
    so_far = torch.zeros_like(features)
    for k, index in enumerate(maps):
        residual = codes.get_buffer(f"down_{k}") @ (features - so_far)
        distances = torch.cdist(residual, codes.codebooks[k].expand(3, -1, -1))
        assert torch.equal(distances.argmin(-1), index)
        so_far = so_far + codes.codes_of(k, index)
    torch.testing.assert_close(codes.total(torch.cat(maps, 1)), total)


def test_teacher_inputs_equal_those_of_decoded_prefixes(codes: Tokenizer) -> None:
    tokens = torch.randint(64, (3, codes.config.tokens))
    inputs = codes.teacher_inputs(tokens)
    maps = tokens.split([s * s for s in codes.config.scales], 1)
    start = 0
    for k in range(1, len(codes.config.scales)):
        prefix = torch.stack([codes.codes_of(j, maps[j]) for j in range(k)]).sum(0)
        side = codes.config.scales[k]
        square = prefix.transpose(1, 2).unflatten(2, (4, 4))
        wanted = F.adaptive_avg_pool2d(square, side).flatten(2).transpose(1, 2)
        torch.testing.assert_close(inputs[:, start : start + side * side], wanted, rtol=1e-4, atol=1e-5)
        start += side * side


def test_a_graded_background_is_painted_exactly() -> None:
    """Corner colours are blended with aligned corners, so flat and linear fields carry no texture."""
    net = Tokenizer(TokenizerConfig())
    with torch.no_grad():
        for parameter in net.painter.parameters():
            parameter.zero_()
        net.painter[-1].bias[3] = -20.0  # the mask is exactly zero
        picture = net.paint(torch.randn(2, 64, 16))
    rows = picture.diff(dim=-1)
    torch.testing.assert_close(rows, rows.mean(-1, keepdim=True).expand_as(rows), rtol=0, atol=1e-5)


def _images(count: int) -> np.ndarray:
    shares = {"informative": 1.0}
    return np.stack([compose(3, "fit", i, shares, 8, 32).image for i in range(count)])


FIT = FitSettings(
    images=1600, pairs=64, batch=8, learning_rate=4e-3, perceptual=0.0, codes=64, width=32, seed=0
)


def _fit(folder: Path, images: np.ndarray, killed: Path | None = None) -> tuple[Tokenizer, int]:
    """A whole fit, and its steps; `killed` gets what it leaves if it is killed behind its 150th."""
    config, steps = TokenizerConfig(codes=FIT.codes, width=FIT.width), list[int]()
    with Scratch(folder, "fit", every_seconds=1e9) as scratch:

        def distance(painted: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
            steps.append(len(images))
            if killed and len(steps) == 150:
                scratch.every = 0  # seconds: this step leaves its state
            if killed and len(steps) == 151:
                scratch.every = 1e9
                shutil.copytree(folder, killed)
            return torch.zeros(())

        *_, (_, _, model) = tokenizer_fit.fit(config, FIT, images, distance, scratch, CPU)
    return model, len(steps)


def test_fit_learns_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    images = _images(64)
    whole, steps = _fit(tmp_path / "a", images, tmp_path / "b")
    resumed, later = _fit(tmp_path / "b", images)
    assert (steps, later) == (200, 50)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0, msg=name)
    pixels = to_float(torch.from_numpy(images))
    blank = 10 * torch.log10(4 / (pixels - pixels.mean((2, 3), keepdim=True)).square().mean((1, 2, 3))).mean()
    assert psnr(images, StarCodec(whole).reconstruct(images)).mean() > float(blank) + 1.5
    used = whole.encode(pixels).split([s * s for s in whole.config.scales], 1)
    assert len(used[3].unique()) > 20, "most codes of the last scale lie idle"


def test_files_come_back_and_damage_is_told(tmp_path: Path, codes: Tokenizer) -> None:
    tokenizer.save(codes, tmp_path, note="test")
    again = tokenizer.load(tmp_path)
    tokens = torch.randint(64, (2, codes.config.tokens))
    assert torch.equal(again.decode(tokens), codes.decode(tokens))
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(Refusal, match="not the file that its manifest describes"):
        tokenizer.load(tmp_path)
    assert files.read_json(tmp_path / "card.json")["note"] == "test"


@pytest.mark.parametrize("every", [0.0, 1e9])
def test_a_fit_that_is_no_number_any_more_ends_with_the_step_and_saves_nothing_of_it(
    tmp_path: Path, every: float
) -> None:
    calls = []

    def distance(painted: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        calls.append(len(images))
        return (painted.mean() * 0).sqrt() if len(calls) == 3 else painted.mean() * 0  # its gradient alone

    config = TokenizerConfig(codes=FIT.codes, width=FIT.width)
    fit = FIT.model_copy(update={"perceptual": 0.1})
    with Scratch(tmp_path, "fit", every_seconds=every) as scratch:
        with pytest.raises(Refusal, match=r"finite at step 3 \(images 17 to 24\); codecs\.star\.fit"):
            list(tokenizer_fit.fit(config, fit, _images(64), distance, scratch, CPU))
        saved = scratch.load()
    assert (saved is None) == bool(every)
    assert saved is None or (saved[1]["step"] == 2 and all_finite(saved[0].values()))
