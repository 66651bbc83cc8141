"""The yardstick: STAR, its training step and the published rater step as one would write them, in float32.

Modules of torch as they come, fused attention, no allocator lines. Parameters have the names of
`alchemist.families.star.transformer`, so that equal weights give equal losses (tests/benchmarks).
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alchemist.families.star.pyramid import Pyramid
from alchemist.families.star.settings import StarSettings
from alchemist.families.star.transformer import no_decay, rope_table
from alchemist.models.batch import Batch

MAX_LOG_SCALE = 4.605170185988092  # ln 100


def turn(x: Tensor, angles: Tensor) -> Tensor:
    """Rotates adjacent channel pairs of (B, H, L, head) by complex numbers (L, head / 2)."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * angles).flatten(-2)


class Attention(nn.Module):
    """Cosine attention with a learned scale a head."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def split(self, x: Tensor) -> Tensor:
        """(B, L, C) to (B, H, L, head)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, log_scale: Tensor, mask: Tensor) -> Tensor:
        """(B, L, C)."""
        q = F.normalize(q, dim=-1) * log_scale.clamp_max(MAX_LOG_SCALE).exp()[:, None, None]
        k = F.normalize(k, dim=-1)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0).transpose(1, 2).flatten(2)


class PlainBlock(nn.Module):
    """Self-attention, cross-attention, feed-forward; pre-norm."""

    def __init__(self, settings: StarSettings, text_width: int, rate: float) -> None:
        super().__init__()
        width, self.rate = settings.width, rate
        self.attention = Attention(settings.heads)
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.log_scale = nn.Parameter(torch.full((settings.heads,), 4.0).log())
        self.out = nn.Linear(width, width)
        self.text_q = nn.Linear(width, width)
        self.text_kv = nn.Linear(text_width, 2 * width, bias=False)
        self.text_v_bias = nn.Parameter(torch.zeros(width))
        self.text_log_scale = nn.Parameter(torch.full((settings.heads,), 4.0).log())
        self.text_out = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.act = nn.ReLU() if settings.activation == "relu" else nn.GELU(approximate="tanh")
        self.down = nn.Linear(4 * width, width)

    def drop(self, branch: Tensor) -> Tensor:
        """Drop-path."""
        if self.rate == 0 or not self.training:
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.rate
        return branch * kept / (1 - self.rate)

    def forward(self, x: Tensor, states: Tensor, padding: Tensor, angles: Tensor, mask: Tensor) -> Tensor:
        """(B, L, C) to the same."""
        split = self.attention.split
        zeros = torch.zeros_like(self.q_bias)
        qkv = F.linear(self.norm(x), self.qkv.weight, torch.cat([self.q_bias, zeros, self.v_bias]))
        q, k, v = qkv.chunk(3, -1)
        read = self.attention(turn(split(q), angles), turn(split(k), angles), split(v), self.log_scale, mask)
        x = x + self.drop(self.out(read))
        kv = F.linear(states, self.text_kv.weight, torch.cat([zeros, self.text_v_bias]))
        k, v = kv.chunk(2, -1)
        q = self.text_q(self.norm(x))
        x = x + self.text_out(self.attention(split(q), split(k), split(v), self.text_log_scale, padding))
        return x + self.drop(self.down(self.act(self.up(self.norm(x)))))


class PlainStar(nn.Module):
    """The transformer over a tokenizer's tokens; without a head it is a rater's trunk."""

    def __init__(
        self, settings: StarSettings, tokenizer: Pyramid, text_width: int, head: bool = True
    ) -> None:
        super().__init__()
        config, width = tokenizer.config, settings.width
        self._tokenizer = (tokenizer,)
        self.embed = nn.Linear(config.channels, width)
        self.start = nn.Linear(text_width, width)
        self.start_position = nn.Parameter(torch.zeros(width))
        self.level = nn.Parameter(torch.zeros(len(config.scales), width))
        rates = torch.linspace(0, settings.drop_path, settings.depth).tolist()
        self.blocks = nn.ModuleList([PlainBlock(settings, text_width, rate) for rate in rates])
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.head = nn.Linear(width, config.codes) if head else None
        angles = rope_table(config.scales, width // settings.heads).float()
        self.register_buffer("angles", torch.polar(torch.ones_like(angles), angles), persistent=False)
        level_of = torch.cat([torch.full((s * s,), k) for k, s in enumerate(config.scales)])
        self.register_buffer("level_of", level_of, persistent=False)
        self.register_buffer("mask", level_of[:, None] >= level_of[None, :], persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        """Output states (B, L, C)."""
        text, inputs = batch.text, self._tokenizer[0].teacher_inputs(batch.inputs["tokens"])
        x = torch.cat([self.start(text.pooled)[:, None] + self.start_position, self.embed(inputs)], 1)
        x = x + self.level[self.get_buffer("level_of")]
        padding = text.mask[:, None, None]
        for block in self.blocks:
            x = block(x, text.states, padding, self.get_buffer("angles"), self.get_buffer("mask"))
        return x

    def losses(self, batch: Batch) -> Tensor:
        """Mean token cross-entropies (B,)."""
        assert self.head is not None
        tokens = batch.inputs["tokens"]
        logits = self.head(self.norm(self(batch)))
        each = F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none")
        return each.view(tokens.shape).mean(1)


def adam(model: nn.Module, rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW with the groups that STAR has."""
    named = list(model.named_parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for n, p in named if not no_decay(n, p)], "weight_decay": weight_decay},
            {"params": [p for n, p in named if no_decay(n, p)], "weight_decay": 0.0},
        ],
        lr=rate,
        betas=(0.9, 0.95),
    )


class PlainTraining:
    """A model, its optimiser and its averaged weights."""

    def __init__(self, model: PlainStar, rate: float, weight_decay: float, clip: float) -> None:
        self.model, self.clip = model.train(), clip
        self.adam = adam(model, rate, weight_decay)
        self.average = copy.deepcopy(model).eval().requires_grad_(False)

    def step(self, batch: Batch, decay: float = 0.99) -> Tensor:
        """One step on a batch; gives its loss."""
        self.adam.zero_grad()
        loss = self.model.losses(batch).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.adam.step()
        with torch.no_grad():
            for ours, theirs in zip(self.average.parameters(), self.model.parameters(), strict=True):
                ours.lerp_(theirs, 1 - decay)
        return loss.detach()


class PlainRater(nn.Module):
    """A trunk with the paper's two heads: W = gate x softmax over the batch (section 3.2)."""

    def __init__(self, trunk: PlainStar, width: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.instance = nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, 1))
        self.group = nn.Sequential(nn.Linear(2 * width, 64), nn.GELU(), nn.Linear(64, 1), nn.Sigmoid())

    def forward(self, batch: Batch) -> Tensor:
        """Weights (B,)."""
        features = self.trunk(batch).mean(1)
        gate = self.group(torch.cat([features.mean(0), features.var(0, correction=0)]))
        return gate * self.instance(features)[:, 0].softmax(0)


class PlainRating:
    """The published step: two proxy forwards, one backward, two rater forwards, one backward."""

    def __init__(self, proxy: PlainStar, rater: PlainRater, rate: float, clip: float) -> None:
        self.proxy, self.rater, self.clip = proxy.train(), rater.train(), clip
        self.proxy_adam, self.rater_adam = adam(proxy, rate, 0.05), adam(rater, rate, 0.05)

    def step(self, validation: Batch, train: Batch, upper: float) -> None:
        """u L_val + (1 - u) mean(W_i L_i) for the proxy, then mean(W_i stopgrad(L_i)) for the rater."""
        with torch.no_grad():
            weights = self.rater(train)
        held_out, losses = self.proxy.losses(validation), self.proxy.losses(train)
        loss = upper * held_out.mean() + (1 - upper) * (weights * losses).mean()
        self._descend(self.proxy, self.proxy_adam, loss)
        self._descend(self.rater, self.rater_adam, (self.rater(train) * losses.detach()).mean())

    def _descend(self, model: nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), self.clip)
        optimiser.step()
