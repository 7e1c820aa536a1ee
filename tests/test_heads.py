"""What the classifiers are asked, and what they see."""

from __future__ import annotations

import pytest
import torch

from benchmark.nn.heads import PooledClassifier, lesion_target, pooled
from benchmark.protocols import Batch
from benchmark.vocabulary import IGNORED, BenchError


def test_the_target_speaks_of_the_volume_or_of_the_patch() -> None:
    label = torch.zeros(3, 1, 4, 4, 4, dtype=torch.uint8)
    label[1, 0, 0, 0, 0] = 3
    batch = Batch(
        image=torch.zeros(3, 2, 4, 4, 4),
        label=label,
        has_lesion=torch.tensor([True, True, False]),
        modalities=("CT", "PET"),
        case_ids=("a", "b", "c"),
        step=0,
        generator=torch.Generator(),
    )
    label[2, 0, 1] = IGNORED
    assert lesion_target("volume")(batch).tolist() == [True, True, False]
    assert lesion_target("patch")(batch).tolist() == [False, True, False]
    with pytest.raises(BenchError, match="volume, patch"):
        lesion_target("slice")


def test_pooling_takes_the_mean_of_every_map_in_order() -> None:
    fine = torch.stack([torch.full((4, 4, 4), 1.0), torch.full((4, 4, 4), 2.0)])[None]
    coarse = torch.arange(8.0).reshape(1, 1, 2, 2, 2)
    assert pooled([fine, coarse]).tolist() == [[1.0, 2.0, 3.5]]


def test_a_pooled_classifier_forgets_where_things_are() -> None:
    torch.manual_seed(0)
    classifier = PooledClassifier(5, 8, dropout=0.5).eval()
    features = [torch.randn(2, 2, 4, 4, 4), torch.randn(2, 3, 2, 2, 2)]
    mirrored = [maps.flip(dims=(2, 4)) for maps in features]
    assert classifier(features).shape == (2,)
    torch.testing.assert_close(classifier(features), classifier(mirrored))
