"""FLUX as a family: its generator, and the trunk that a rater grows on."""

import torch
from torch import Tensor, nn

from alchemist.core import devices
from alchemist.families.flux import flow, lora, pretrained
from alchemist.families.flux.codec import FluxCodec
from alchemist.families.flux.settings import FluxLaw, FluxSettings
from alchemist.families.flux.transformer import fit_out, initialise, run, transformer
from alchemist.models.batch import Batch, Chance, Text
from alchemist.models.family import Generator, Trunk


class FluxGenerator(Generator):
    """A FLUX transformer that predicts the velocity noise - image from a point between the two."""

    likelihood = None

    def __init__(self, settings: FluxSettings, codec: FluxCodec, seed: int) -> None:
        super().__init__()
        self.settings = settings
        self.network = transformer(settings, codec.shape[1])
        if settings.weights is None:
            initialise(self.network, seed)
        else:
            self.network = pretrained.load(self.network, settings)
        fit_out(self.network, settings)
        if settings.lora is not None:
            lora.adapt(self.network, settings.lora, seed)
        self._frozen = (codec,)  # in a tuple, so that its weights are not this module's

    def weights(self) -> dict[str, Tensor]:
        """See Generator.weights: of an adapted network the adapters alone."""
        return super().weights() if self.settings.lora is None else lora.weights(self.network)

    def load_weights(self, tensors: dict[str, Tensor]) -> None:
        """See Generator.load_weights."""
        if self.settings.lora is None:
            super().load_weights(tensors)
        else:
            lora.load_weights(self.network, tensors)

    def blocks(self) -> list[nn.Module]:
        """See Generator.blocks."""
        return [*self.network.transformer_blocks, *self.network.single_transformer_blocks]

    def _errors(self, batch: Batch, chance: Chance) -> tuple[Tensor, Tensor]:
        """Errors of the velocity (S, B, L, D) float32 at sigmas (S, B): one draw, or all strata."""
        image = self._frozen[0].tokens(batch.inputs)
        sigma = devices.put(flow.sigmas(self.settings, chance), image.device)
        noise = devices.put(flow.noise(chance, len(sigma), tuple(image.shape[1:])), image.device)
        errors = []
        for share, drawn in zip(sigma, noise, strict=True):
            at = share[:, None, None]
            between = (1 - at) * image + at * drawn
            velocity = run(self.network, between, share, batch.text, self.settings.embedded_guidance)
            errors.append(velocity.float() - (drawn - image))
        return torch.stack(errors), sigma

    def losses(self, batch: Batch, chance: Chance) -> Tensor:
        """Mean squared error of the velocity over the tokens and channels of each pair, (B,).

        In training at one sigma a pair; else a mean over the strata of sigma.
        """
        errors, sigma = self._errors(batch, chance)
        return (flow.error_weights(self.settings, sigma) * errors.square().mean((2, 3))).mean(0)

    def error_norms(self, batch: Batch, chance: Chance) -> Tensor:
        """||predicted - true velocity||_2 of each pair, a mean over the strata of sigma: (B,).

        What EL2N is of a squared error: the norm of its gradient by the output, up to a factor.
        """
        return self._errors(batch, chance)[0].flatten(2).norm(dim=-1).double().mean(0)

    @torch.no_grad()
    def sample(self, captions: Text, null: Text, chance: Chance, law: FluxLaw) -> Tensor:
        """See Generator.sample. Euler steps from sigma 1 to 0, guided as by Ho & Salimans (2022)."""
        codec, device = self._frozen[0], captions.pooled.device
        scheduler = flow.steps(law, codec.shape[0])
        embedded = None if self.settings.embedded_guidance is None else law.embedded_guidance
        x = devices.put(flow.noise(chance, 1, codec.shape)[0], device)
        guided = law.guidance != 1
        text = captions.join(null) if guided else captions
        for time, share in zip(scheduler.timesteps, scheduler.sigmas[:-1], strict=True):
            both = torch.cat([x, x]) if guided else x
            velocity = run(self.network, both, share.expand(len(both)).to(device), text, embedded).float()
            if guided:
                given, empty = velocity.chunk(2)
                velocity = empty + law.guidance * (given - empty)
            x = scheduler.step(velocity, time, x, return_dict=False)[0]
        return codec.images(x)

    def decays(self, name: str, parameter: Tensor) -> bool:
        """See Generator.decays."""
        return parameter.ndim > 1


class FluxTrunk(Trunk):
    """The transformer of a size without its output layer, at the clean image: sigma 0."""

    def __init__(self, settings: FluxSettings, codec: FluxCodec, seed: int) -> None:
        super().__init__()
        self.width, self._guidance = settings.heads * settings.head_width, settings.embedded_guidance
        self.network = transformer(settings, codec.shape[1])
        self.network.proj_out = nn.Identity()
        initialise(self.network, seed)
        fit_out(self.network, settings)
        self._frozen = (codec,)  # in a tuple, so that its weights are not this module's

    def features(self, batch: Batch, chance: Chance) -> Tensor:
        """Output states averaged over the tokens of the image, (B, C) float32."""
        image = self._frozen[0].tokens(batch.inputs)
        guidance = self._guidance
        return run(self.network, image, image.new_zeros(len(image)), batch.text, guidance).float().mean(1)

    def decays(self, name: str, parameter: Tensor) -> bool:
        """See Trunk.decays."""
        return parameter.ndim > 1
