import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from alchemist.models import encoded
from alchemist.models.encoded import Encoded


def test_a_batch_holds_its_rows_and_the_empty_caption_where_dropped(tmp_path: Path) -> None:
    rows = pd.DataFrame({"id": ["a", "b", "c"], "split": "pool", "text": [2, 1, 2]})
    tokens = np.arange(15, dtype=np.uint16).reshape(3, 5)
    states = [np.full((n, 4), value, np.float16) for n, value in ((1, 7), (3, 1), (2, 2))]
    encoded.write(tmp_path, rows, tokens, states)
    batch = Encoded(tmp_path).batch(np.array([2, 1, 0]), np.array([False, False, True]))
    assert batch.tokens.tolist() == tokens[[2, 1, 0]].tolist()
    assert batch.text.mask.tolist() == [[True, True, False], [True] * 3, [True, False, False]]
    assert torch.equal(batch.text.pooled, torch.tensor([[2.0] * 4, [1.0] * 4, [7.0] * 4]))
    assert batch.text.states[0, 2].eq(0).all()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_nothing_stays_mapped_between_batches(data: Encoded) -> None:
    """A mapping that stays counts every page that it has read: memory would grow with the pool."""
    data.batch(np.arange(50))
    mapped = Path("/proc/self/maps").read_text()
    assert str(data.folder) not in mapped
