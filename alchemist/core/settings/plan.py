"""The block `plan`: the card on which `python -m stages.plan` reckons hours, memory and money."""

from pydantic import Field

from alchemist.core.settings import Settings


class CardSettings(Settings):
    """`plan.card`: one accelerator. The defaults are those of an A800 of 80 GB, the paper's card."""

    name: str = Field(default="A800 80GB", min_length=1, description="how the plan names it")
    tflops: float = Field(
        default=312.0, gt=0, description="peak of dense bf16 products, in 10^12 operations a second"
    )
    utilisation: float = Field(
        default=0.17,
        gt=0,
        le=1,
        description="share of that peak which training and scoring reach; 0.17 is what the hours of the "
        "paper's Table 1 come to",
    )
    memory_gib: float = Field(default=80.0, gt=0, description="its memory, in GiB")
    price_per_hour: float = Field(default=2.0, ge=0, description="of one card, in `currency`")
    currency: str = Field(default="USD", min_length=1, description="of the price")


class PlanSettings(Settings):
    """What only the plan reads: no stage runs again for it."""

    card: CardSettings = Field(default=CardSettings(), description="the card that is reckoned with")
