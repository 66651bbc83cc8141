"""The published tokenizer: its size, its pyramid against a second implementation, and phi's tables."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from alchemist.families.star import published
from alchemist.families.star.generator import StarCodec
from alchemist.families.star.published import PHI, SCALES, PublishedConfig, PublishedTokenizer
from alchemist.families.star.settings import PUBLISHED

SMALL = PublishedConfig(resolution=96, scales=(1, 2, 3, 4, 5, 6), codes=64, channels=32, width=32)


@pytest.fixture(scope="module")
def small() -> PublishedTokenizer:
    torch.manual_seed(0)
    return PublishedTokenizer(SMALL).eval().requires_grad_(False)


def pictures(count: int, side: int = 96) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


# --- sizes ---


def test_it_has_the_published_parameters() -> None:
    with torch.device("meta"):
        net = PublishedTokenizer(PublishedConfig())

    def count(*modules: torch.nn.Module) -> int:
        return sum(p.numel() for module in modules for p in module.parameters())

    assert count(net.encoder) == 44_107_872
    assert count(net.decoder) == 64_653_923
    assert net.codebook.numel() + count(net.phi) == 168_064
    assert count(net) == 108_948_355


@pytest.mark.parametrize(("side", "tokens", "scales"), [(256, 680, 10), (512, 2240, 10), (1024, 9451, 14)])
def test_scales_end_at_a_sixteenth_of_the_pixels(side: int, tokens: int, scales: int) -> None:
    config = PublishedConfig(side, SCALES[side])
    assert (config.tokens, len(config.scales), config.scales[-1]) == (tokens, scales, side // 16)
    with torch.device("meta"):
        net = PublishedTokenizer(config)
        assert net.encode(torch.empty(2, 3, side, side)).shape == (2, tokens)
        assert net.decode(torch.empty(2, tokens, dtype=torch.int64)).shape == (2, 3, side, side)


@pytest.mark.parametrize("count", [6, 10, 14])
def test_phi_is_the_nearest_tick_s_and_ties_are_those_of_float64(count: int) -> None:
    ticks = np.linspace(1 / 3 / 4, 1 - 1 / 3 / 4, 4)
    distances = np.abs(ticks[None] - np.arange(count)[:, None] / (count - 1))
    assert PHI[count] == tuple(distances.argmin(1).tolist())
    tied = np.isclose(*np.sort(distances, 1)[:, :2].T, atol=1e-12)
    assert np.flatnonzero(tied).tolist() == ([2, 7] if count == 10 else []), "where rounding alone decides"
    assert set(PHI[count]) == {0, 1, 2, 3}


# --- the pyramid ---


def test_indices_are_the_nearest_codes_of_each_residual_and_their_sum_is_the_map(
    small: PublishedTokenizer,
) -> None:
    """Scale by scale with torch's own resizing and distances, in float64, from the features on."""
    features = small.features(pictures(2))
    maps, total = small.quantise(features)
    rest = features.double().transpose(1, 2).unflatten(2, (6, 6))
    summed = torch.zeros_like(rest)
    book = small.codebook.double()
    for k, side in enumerate(SMALL.scales):
        wanted = F.adaptive_avg_pool2d(rest, side)
        vectors = wanted.permute(0, 2, 3, 1).reshape(-1, 32)
        index = torch.cdist(vectors, book).argmin(1).view(2, -1)
        assert torch.equal(index, maps[k]), f"scale {side}"
        coded = book[index].view(2, side, side, 32).permute(0, 3, 1, 2)
        wide = F.interpolate(coded, size=(6, 6), mode="bicubic")
        phi = small.phi[(0, 0, 1, 2, 3, 3)[k]]
        added = 0.5 * wide + 0.5 * F.conv2d(wide, phi.weight.double(), phi.bias.double(), padding=1)
        summed, rest = summed + added, rest - added
    torch.testing.assert_close(total.double().transpose(1, 2).unflatten(2, (6, 6)), summed, rtol=0, atol=1e-4)
    torch.testing.assert_close(
        (features - total).double().transpose(1, 2).unflatten(2, (6, 6)), rest, rtol=0, atol=1e-4
    )


def test_decoding_indices_gives_the_map_that_encoding_summed(small: PublishedTokenizer) -> None:
    images = pictures(3)
    maps, total = small.quantise(small.features(images))
    tokens = small.encode(images)
    assert torch.equal(tokens, torch.cat(maps, 1))
    torch.testing.assert_close(small.total(tokens), total, rtol=0, atol=1e-5)
    painted = small.paint(total).clamp(-1, 1)
    decoded = small.decode(tokens)
    assert decoded.dtype == torch.uint8
    assert (decoded.float() / 127.5 - 1 - painted).abs().max() <= 1 / 127.5


def test_teacher_inputs_are_those_of_decoded_prefixes(small: PublishedTokenizer) -> None:
    tokens = torch.randint(64, (2, SMALL.tokens), generator=torch.Generator().manual_seed(2))
    parts = tokens.split([side * side for side in SMALL.scales], 1)
    inputs = small.teacher_inputs(tokens)
    assert inputs.dtype == torch.float32
    assert inputs.shape == (2, SMALL.tokens - 1, 32)
    start = 0
    for k in range(1, 6):
        prefix = sum(small.codes_of(j, parts[j]) for j in range(k))
        assert isinstance(prefix, Tensor)
        square = prefix.transpose(1, 2).unflatten(2, (6, 6))
        side = SMALL.scales[k]
        wanted = F.adaptive_avg_pool2d(square, side).flatten(2).transpose(1, 2)
        torch.testing.assert_close(inputs[:, start : start + side * side], wanted, rtol=0, atol=1e-5)
        start += side * side


def test_all_is_float32_under_autocasting(small: PublishedTokenizer) -> None:
    images = pictures(2)
    tokens = small.encode(images)
    plain = small.features(images), small.teacher_inputs(tokens), small.paint(small.total(tokens))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(small.encode(images), tokens)
        cast = small.features(images), small.teacher_inputs(tokens), small.paint(small.total(tokens))
    assert all(torch.equal(one, other) for one, other in zip(plain, cast, strict=True))


def test_images_go_a_few_at_once(small: PublishedTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    images = (np.random.default_rng(0).random((5, 96, 96, 3)) * 255).astype(np.uint8)
    codec = StarCodec(small)
    whole = codec.encode(images)["tokens"]
    monkeypatch.setattr(published, "AT_ONCE", 2 * 96 * 96)
    assert np.array_equal(codec.encode(images)["tokens"], whole)
    assert whole.dtype == np.uint16
    assert codec.reconstruct(images).shape == images.shape


# --- the networks ---


def by_hand(net: PublishedTokenizer, x: Tensor) -> Tensor:
    """The encoder, written out from its weights alone."""
    w = {
        name.removeprefix("encoder."): value
        for name, value in net.encoder.state_dict(prefix="encoder.").items()
    }

    def conv(x: Tensor, name: str, **how: int) -> Tensor:
        return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], **how)

    def norm(x: Tensor, name: str) -> Tensor:
        groups = x.unflatten(1, (32, -1)).flatten(2)
        mean, variance = groups.mean(-1, keepdim=True), groups.var(-1, keepdim=True, unbiased=False)
        unit = ((groups - mean) / (variance + 1e-6).sqrt()).view_as(x)
        return unit * w[f"{name}.weight"][:, None, None] + w[f"{name}.bias"][:, None, None]

    def swish(x: Tensor) -> Tensor:
        return x * x.sigmoid()

    def residual(x: Tensor, name: str) -> Tensor:
        h = conv(swish(norm(x, f"{name}.norm1")), f"{name}.conv1", padding=1)
        h = conv(swish(norm(h, f"{name}.norm2")), f"{name}.conv2", padding=1)
        return (conv(x, f"{name}.skip") if f"{name}.skip.weight" in w else x) + h

    def attention(x: Tensor, name: str) -> Tensor:
        q, k, v = conv(norm(x, f"{name}.norm"), f"{name}.qkv").flatten(2).chunk(3, 1)
        weights = (q.mT @ k / q.shape[1] ** 0.5).softmax(-1)
        return x + conv((v @ weights.mT).view_as(x), f"{name}.out")

    x = conv(x, "stem", padding=1)
    for level in range(5):
        for block in range(2):
            x = residual(x, f"levels.{level}.blocks.{block}")
            x = attention(x, f"levels.{level}.attentions.{block}") if level == 4 else x
        if level < 4:
            x = conv(F.pad(x, (0, 1, 0, 1)), f"levels.{level}.resize.1", stride=2)
    x = residual(attention(residual(x, "middle.0"), "middle.1"), "middle.2")
    return conv(swish(norm(x, "end.0")), "end.2", padding=1)


def test_the_encoder_is_the_one_of_the_papers(small: PublishedTokenizer) -> None:
    images = pictures(2)
    torch.testing.assert_close(small.encoder(images), by_hand(small, images), rtol=1e-4, atol=1e-4)


def test_the_settings_know_at_which_resolutions_it_works() -> None:
    assert tuple(SCALES) == PUBLISHED
