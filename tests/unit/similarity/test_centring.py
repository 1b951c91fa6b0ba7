"""Rows as the measures take them."""

import pytest
import torch
from sklearn.preprocessing import StandardScaler

from taskdepth.similarity.centring import standardised


def test_standardised_equals_sklearn():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 20, 6, generator=generator) * torch.logspace(-2, 3, 6) + 40
    for side in x:
        expected = torch.from_numpy(StandardScaler().fit_transform(side.double().numpy()))
        torch.testing.assert_close(standardised(side), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(standardised(x)[1], standardised(x[1]))


def test_dimensions_without_variance_stay_without():
    x = torch.full((5, 2), 0.1)
    x[:, 1] = torch.arange(5)
    assert standardised(x)[:, 0].tolist() == [0] * 5
    assert float(standardised(x)[:, 1].var(correction=0)) == pytest.approx(1)
