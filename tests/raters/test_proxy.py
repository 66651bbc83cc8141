"""The controls against closed forms in float64, and without a trace of the batch."""

import numpy as np
import pytest
import torch
from conftest import TINY

from alchemist.models.star.generator import StarGenerator
from alchemist.raters.proxy import caption_band, caption_losses, el2n, error_norms, percentiles


@pytest.fixture(scope="module")
def proxy(codes):
    """A generator whose head is far enough from zero for chances to differ."""
    generator = StarGenerator(TINY, codes, seed=3).eval()
    with torch.no_grad():
        head = generator.star.head
        assert head is not None
        head.weight.mul_(100)
    return generator


def silent(count):
    pass


def test_an_error_norm_is_that_of_softmax_less_one_hot():
    logits = 4 * torch.randn(5, 7, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens = torch.arange(35).reshape(5, 7) % 11
    difference = logits.softmax(-1) - torch.eye(11, dtype=torch.float64)[tokens]
    expected = difference.square().sum(-1).sqrt()
    assert torch.allclose(error_norms(logits, tokens), expected, rtol=1e-12, atol=0)
    # It is the gradient of the cross-entropy by the logits.
    leaf = logits.requires_grad_()
    (gradient,) = torch.autograd.grad(
        torch.nn.functional.cross_entropy(leaf.flatten(0, 1), tokens.flatten(), reduction="sum"), leaf
    )
    assert torch.allclose(gradient.norm(dim=-1), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("codes_count", [2, 64, 2048])
def test_error_norms_of_known_chances(codes_count):
    tokens = torch.tensor([0, 1])
    uniform = error_norms(torch.zeros(2, codes_count), tokens)
    assert uniform.tolist() == pytest.approx([(1 - 1 / codes_count) ** 0.5] * 2, rel=1e-6)
    sure = torch.full((2, codes_count), -200.0)
    sure[:, 0] = 200.0
    assert error_norms(sure, tokens).tolist() == pytest.approx([0.0, 2**0.5], abs=1e-7)
    # Nearly sure in float32: the norm is about (1 - p) sqrt(1 + 1 / (V - 1)), not lost in rounding.
    gap = 12.0
    near = torch.zeros(1, codes_count)
    near[0, 0] = gap
    rest = np.exp(-gap) * (codes_count - 1) / (1 + np.exp(-gap) * (codes_count - 1))
    expected = rest * (1 + 1 / (codes_count - 1)) ** 0.5
    assert float(error_norms(near, tokens[:1])) == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_el2n_is_the_mean_over_the_tokens_of_a_pair(proxy, data):
    rows = data.split("pool")[:12]
    with torch.no_grad():
        batch = data.batch(rows)
        difference = proxy.logits(batch).double().softmax(-1)
        difference -= torch.eye(difference.shape[-1], dtype=torch.float64)[batch.tokens]
    expected = difference.square().sum(-1).sqrt().mean(1)
    found = el2n(proxy, data, rows, 5, silent)
    assert found.dtype == np.float64
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-6)
    assert found.std() > 1e-3


def caption_gain(*arguments):
    given, empty = caption_losses(*arguments)
    return empty - given


def test_caption_losses_are_those_with_and_without_the_caption(proxy, data):
    rows = data.split("pool")[:12]
    with torch.no_grad():
        batch = data.batch(rows)
        empty = data.null(len(rows), 1)
        losses = [
            torch.nn.functional.cross_entropy(
                proxy.star(proxy.tokenizer.teacher_inputs(batch.tokens), text).double().flatten(0, 1),
                batch.tokens.flatten(),
                reduction="none",
            ).view(len(rows), -1).mean(1)
            for text in (empty, batch.text)
        ]  # fmt: skip
    given, found = caption_losses(proxy, data, rows, 5, silent)
    assert given.dtype == found.dtype == np.float64
    assert found.tolist() == pytest.approx(losses[0].tolist(), abs=2e-6)
    assert given.tolist() == pytest.approx(losses[1].tolist(), abs=2e-6)
    assert (found - given).std() > 1e-3


def test_a_proxy_that_reads_no_caption_gains_nothing_by_one(proxy, data, codes):
    deaf = StarGenerator(TINY, codes, seed=3).eval()
    with torch.no_grad():
        deaf.load_state_dict(proxy.state_dict())
        deaf.star.start.weight.zero_()
        for block in deaf.star.blocks:
            block.text_kv.weight.zero_()
    rows = data.split("pool")[:9]
    assert np.abs(caption_gain(deaf, data, rows, 4, silent)).max() < 1e-6


@pytest.mark.parametrize("measure", [el2n, caption_gain])
def test_a_value_depends_on_its_pair_alone(measure, proxy, data):
    rows = data.split("pool")[:23]
    ticks = []
    whole = measure(proxy, data, rows, 23, ticks.append)
    assert ticks == [23]
    for batch in (1, 7):
        ticks.clear()
        assert measure(proxy, data, rows, batch, ticks.append) == pytest.approx(whole, abs=2e-6)
        assert sum(ticks) == 23
    turned = measure(proxy, data, rows[::-1], 7, silent)
    assert turned[::-1] == pytest.approx(whole, abs=2e-6)
    assert all(p.grad is None for p in proxy.parameters())


def test_percentiles_do_not_depend_on_scale_and_share_ties():
    assert percentiles(np.array([3.0, -1.0, 7.0])).tolist() == [50, 0, 100]
    assert percentiles(np.exp([3.0, -1.0, 7.0])).tolist() == [50, 0, 100]
    assert percentiles(np.array([2.0, 1.0, 2.0, 3.0, 2.0])).tolist() == [50, 0, 50, 100, 50]
    assert percentiles(np.array([5.0])).tolist() == [0]


def test_the_caption_band_rates_the_middle_first_and_unhelpful_captions_last():
    losses = np.linspace(1, 3, 101)
    gains = np.linspace(0, 1, 101)[::-1].copy()  # the highest losses gain least
    rating = caption_band(losses, gains, 30, 0)
    assert rating.tolist() == pytest.approx((-np.abs(np.arange(101) - 30.0)).tolist())
    banded = caption_band(losses, gains, 30, 10)
    assert banded[:91].tolist() == rating[:91].tolist()
    assert banded[91:].tolist() == (rating[91:] - 100).tolist()
    assert banded[91:].max() < banded[:91].min()
