"""The yardstick computes what our float32 path computes: same weights, same losses, same gradient."""

import numpy as np
import torch
from conftest import TINY

from alchemist.families.star.generator import StarCodec, StarGenerator, StarTrunk
from alchemist.models.batch import Chance
from alchemist.models.encoded import Encoded
from alchemist.raters.network import Rater, batch_weights
from benchmarks.plain import PlainRater, PlainStar


def test_equal_weights_have_equal_losses_and_gradients(data: Encoded, codec: StarCodec) -> None:
    ours = StarGenerator(TINY, codec, 0)
    plain = PlainStar(TINY, codec.tokenizer, 384)
    plain.load_state_dict(ours.star.state_dict())
    batch = data.batch(np.arange(8))
    losses = ours.losses(batch, Chance.run(0, 0, 8)), plain.losses(batch)
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=1e-5)
    for loss in losses:
        loss.mean().backward()
    slopes = {name: parameter.grad for name, parameter in plain.named_parameters()}
    for name, parameter in ours.star.named_parameters():
        torch.testing.assert_close(slopes[name], parameter.grad, rtol=1e-3, atol=1e-6, msg=name)


def test_equal_raters_give_equal_weights(data: Encoded, codec: StarCodec) -> None:
    ours = Rater(StarTrunk(TINY, codec, 0), 0)
    plain = PlainRater(PlainStar(TINY, codec.tokenizer, 384, head=False), TINY.width)
    plain.trunk.load_state_dict(ours.trunk.state_dict())
    plain.instance.load_state_dict(ours.instance.state_dict())
    plain.group.load_state_dict(ours.group.state_dict())
    batch = data.batch(np.arange(8))
    wanted = batch_weights(ours, ours.features(batch, Chance.run(0, 0, 8)), "product", None).rating
    torch.testing.assert_close(plain(batch), wanted, rtol=1e-3, atol=1e-6)
