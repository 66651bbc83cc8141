"""What one cell of each kind takes: counted once a model, on `meta`, by the settings in force."""

from functools import cache
from pathlib import Path
from typing import Any

from alchemist.core.settings.rater import SeededRater
from alchemist.core.settings.scale import ScaleSettings
from alchemist.core.settings.text import of_family
from alchemist.models import outline as counts
from alchemist.models.batch import Batch, Chance
from alchemist.models.family import Generator
from alchemist.models.outline import PROBE, Outline, Size
from alchemist.params.whole import Params
from alchemist.plan import cost
from alchemist.plan.pairs import Pairs
from alchemist.raters import forecast
from alchemist.raters.kinds.meta import MetaRater


class Estimates:
    """Counts by the names that params.yaml has; nothing is counted twice."""

    def __init__(self, params: Params, pairs: Pairs, assets: Path) -> None:
        self.params, self.pairs, self.assets = params, pairs, assets
        self.scale: ScaleSettings = params.scales[params.scale]
        # The network of a model that adapts one, under a name that no block can have.
        self.models = {
            **params.models,
            **{self.whole(name): m.whole() for name, m in params.models.items() if m.adapts},
        }
        for name in ("outline", "generator", "size", "forward", "trained", "sampling", "rating", "encoding"):
            setattr(self, name, cache(getattr(self, name)))  # of this object alone

    @staticmethod
    def whole(model: str) -> str:
        """The name under which the network is counted that a model adapts."""
        return f"{model}, whole"

    def pieces(self, family: str) -> int:
        """Word pieces of a caption, at the most: shorter captions cost less."""
        return of_family(self.scale.encode.text, family).pieces

    def outline(self, family: str) -> Outline:
        """A family with its codec, at the pool's resolution."""
        resolution = self.params.pools[self.params.pool].resolution
        return counts.outline(family, self.params.codecs[family], resolution, self.assets)

    def generator(self, model: str) -> Generator:
        """A model's network; its gradients and weights are never there."""
        settings = self.models[model]
        return self.outline(settings.family).generator(settings)

    def size(self, model: str) -> Size:
        """Its parameters and the bytes of its checkpoint."""
        return counts.size(self.generator(model))

    def batch(self, model: str, count: int = PROBE) -> Batch:
        """Pairs without values, with captions of full length."""
        settings = self.models[model]
        return self.outline(settings.family).batch(settings, count, self.pieces(settings.family))

    def forward(self, model: str) -> float:
        """FLOPs an image of a forward pass in training."""
        return counts.loss_flops(self.generator(model), self.batch(model), training=True)

    def trained(self, model: str) -> cost.Trained:
        """What its training holds."""
        settings, size = self.models[model], self.size(model)
        network, batch = self.generator(model), self.batch(model)

        def loss() -> Any:
            return network.losses(batch, Chance.run(0, 0, PROBE, training=True)).mean()

        kept = counts.activation_bytes(network, loss, PROBE)
        frozen = self.outline(settings.family).frozen_bytes(settings)
        return cost.Trained(size.parameters, size.moved, frozen, kept)

    def sampling(self, model: str) -> float:
        """FLOPs of an image that a trained model draws and its codec decodes, and of its own pair's loss."""
        settings, network, text = self.models[model], self.generator(model), self.batch(model).text
        law = self.scale.sample[settings.family]
        flops = counts.pass_flops(lambda: network.sample(text, text, Chance.run(0, 0, PROBE), law)) / PROBE
        if network.likelihood is not None:
            flops += counts.loss_flops(network, self.batch(model), training=False)
        return flops

    def encoding(self, family: str) -> tuple[float, float]:
        """FLOPs of encoding a pair's image, without its caption's, and bytes that a pair takes."""
        family_models = [m for m in self.params.models.values() if m.family == family]
        named = [self.models[name] for name in self._models_of(family)] or family_models
        outline, array = self.outline(family), 0
        for stored in outline.arrays.values():
            values = 1
            for side in stored.shape:
                values *= side
            array += values * stored.bytes
        width, pooled = outline.text_widths(named[0])
        text = of_family(self.scale.encode.text, family)
        pooled = pooled if text.kind != "minilm" else 0  # whose pooled vector is the mean of the states
        flops = counts.pass_flops(lambda: outline.encode(PROBE)) / PROBE
        return flops, cost.encoded_bytes(1, array, text.pieces, width, pooled)

    def rating(self, rater: str, proxy: str, trunk: str) -> tuple[float, float, float]:
        """FLOPs of training a rater, of rating a pair with it, and peak bytes of the training."""
        settings, budget = self.params.raters[rater], self.scale.rate
        assert isinstance(settings, SeededRater)
        of_trunk = self.models[trunk]
        outline = self.outline(of_trunk.family)

        def fresh_proxy() -> Generator:
            one = self.models[proxy]
            return outline.generator(one)

        def fresh_rater() -> Any:
            return forecast.network(lambda: outline.trunk(of_trunk))

        train = forecast.train_flops(
            settings, budget, self.batch(proxy, budget.batch), fresh_proxy, fresh_rater
        )
        score = forecast.score_flops(settings, self.batch(proxy), self.generator(proxy), fresh_rater())
        if not isinstance(settings, MetaRater):
            peak = cost.training_bytes(self.trained(proxy), budget.batch, budget.precision, average=True)
            return train, score, peak if settings.proxies() else 0.0
        network, batch = fresh_rater(), self.batch(trunk)

        def loss() -> Any:
            features = network.features(batch, Chance.run(0, 0, PROBE, training=True))
            return network.logits(features).mean()

        kept = counts.activation_bytes(network, loss, PROBE)
        every = sum(p.numel() for p in network.parameters())
        ours = cost.Trained(every, every, 4, kept)
        # The proxy steps on both batches while the rater's graph of the train batch waits.
        peak = cost.training_bytes(self.trained(proxy), 2 * budget.batch, budget.precision, average=False)
        return train, score, peak + cost.training_bytes(ours, budget.batch, budget.precision, average=False)

    def _models_of(self, family: str) -> list[str]:
        """Models in use of a family, by their names."""
        grid, roles = self.params.grid, self.params.roles
        used = [*grid.whole(), *grid.transfer.models, roles.proxy, roles.rater]
        used += [name for other in grid.others.values() for name in (other.proxy, other.rater)]
        return [name for name in used if self.models[name].family == family]
