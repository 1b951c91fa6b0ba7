"""Derivatives are autograd's; the preconditioner is the inverse Hessian where all rows are alike."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import hessian, jacobian

from taskdepth.probing.inputs import Inputs
from taskdepth.probing.regressions import Parameters, Regressions

N, D = 30, 5


def problem(n_classes: int, weighted: bool, absent: bool = False) -> tuple[Regressions, Tensor]:
    generator = torch.Generator().manual_seed(n_classes)
    x = torch.randn(1, N, D, generator=generator, dtype=torch.float64)
    y = torch.arange(N)[None, None] % (n_classes - absent)
    weight = torch.rand(1, 1, N, generator=generator, dtype=torch.float64) if weighted else None
    k = 1 if n_classes == 2 else n_classes
    logits = torch.randn(1, 1, k, N, generator=generator, dtype=torch.float64)
    return Regressions(Inputs.of(x, 1.0), y, n_classes, weight), logits


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_derivatives_are_autograds(n_classes: int, weighted: bool) -> None:
    regressions, logits = problem(n_classes, weighted)
    answers = regressions.answers(logits)
    torch.testing.assert_close(regressions.loss(answers), regressions.exact_loss(logits))

    def loss(logits: Tensor) -> Tensor:
        return regressions.exact_loss(logits)[0, 0]

    torch.testing.assert_close(answers.residual, jacobian(loss, logits))
    change = logits.flip(-1)
    far = torch.zeros((), dtype=torch.float64)
    second = hessian(lambda far: loss(logits + far * change), far)
    torch.testing.assert_close(regressions.curvature(answers, change)[0, 0], second)


@pytest.mark.parametrize(("n_classes", "absent"), [(2, False), (4, False), (4, True)])
def test_the_preconditioner_is_newtons_where_all_rows_are_alike(
    n_classes: int, absent: bool
) -> None:
    regressions, _ = problem(n_classes, weighted=False, absent=absent)
    at = regressions.start()  # no weights: every row has the class frequencies
    at.bias[..., 0] += 0.5
    inputs, l2 = regressions.inputs, torch.tensor([0.7], dtype=torch.float64)

    def logits(z: Tensor) -> Tensor:
        w, bias = z.split([at.w.numel(), at.bias.numel()])
        return regressions.logits(inputs.logits(w.reshape(at.w.shape)), bias.reshape(at.bias.shape))

    def objective(z: Tensor) -> Tensor:
        return regressions.exact_loss(logits(z))[0, 0] + 0.35 * z[: at.w.numel()].square().sum()

    z = torch.cat([at.w.flatten(), at.bias.flatten()])
    answers = regressions.answers(logits(z))
    gradient = Parameters(inputs.gradient(answers.residual), answers.residual.sum(dim=3))
    step = regressions.precondition(gradient, regressions.mean_curvature(answers), l2)
    expected = torch.cat([gradient.w.flatten(), gradient.bias.flatten()])
    found = hessian(objective, z) @ torch.cat([step.w.flatten(), step.bias.flatten()])
    torch.testing.assert_close(found, expected)
    assert expected.abs().max() > 0.1
