"""Ranks within a budget, counted in the adapted model itself."""

import pytest
from peft import AdaLoraConfig, IA3Config, LoraConfig

from taskdepth import layers
from taskdepth.errors import ConfigError
from taskdepth.models import adapters
from taskdepth.models.budget import BlockCosts, block_costs, with_ranks


def lora(**options):
    return LoraConfig(
        **{"task_type": "CAUSAL_LM", "r": 3, "lora_alpha": 6, "target_modules": "all-linear"}
        | options
    )


def learning(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"target_modules": ["q_proj"]}])
def test_costs_are_those_of_any_rank(tiny, options):
    before = {name: (p.requires_grad, p.data_ptr()) for name, p in tiny.lm.named_parameters()}
    costs = block_costs(tiny.lm, lora(**options))
    assert before == {n: (p.requires_grad, p.data_ptr()) for n, p in tiny.lm.named_parameters()}
    wrapped = adapters.attach(tiny.lm, lora(r=5, **options), None)
    assert learning(wrapped) == costs.parameters(dict.fromkeys(range(4), 5))


@pytest.mark.parametrize("blocks", [(0,), (3,), (0, 2), (1, 2, 3), (0, 1, 2, 3)])
def test_any_blocks_learn_the_same_number_of_parameters_at_the_same_scaling(tiny, blocks):
    config = lora()
    costs = block_costs(tiny.lm, config)
    budget = costs.parameters(dict.fromkeys(range(4), config.r))
    ranks = costs.ranks(blocks, budget)
    assert tuple(ranks) == blocks
    assert max(ranks.values()) - min(ranks.values()) <= 1
    changed = with_ranks(config, layers.blocks_path(tiny.lm), ranks)
    assert (config.r, config.lora_alpha, config.rank_pattern) == (3, 6, {})
    wrapped = adapters.attach(tiny.lm, changed, blocks)
    assert learning(wrapped) == costs.parameters(ranks) == budget
    for block, module in enumerate(layers.find_blocks(wrapped)):
        found = [m for m in module.modules() if hasattr(m, "lora_A")]
        assert bool(found) == (block in blocks)
        for adapted in found:
            assert adapted.lora_A["default"].weight.shape[0] == ranks[block]
            assert adapted.scaling["default"] == 2.0


def test_a_saved_adapter_keeps_its_ranks(tiny, tmp_path):
    ranks = {1: 2, 3: 4}
    wrapped = adapters.attach(tiny.lm, with_ranks(lora(), "model.layers", ranks), (1, 3))
    adapters.save(wrapped, tmp_path)
    count = learning(wrapped)
    with adapters.loaded(adapters.detach(wrapped), tmp_path) as again:
        assert sum(p.numel() for n, p in again.named_parameters() if "lora_" in n) == count


@pytest.mark.parametrize(
    ("costs", "blocks", "budget", "ranks"),
    [
        (BlockCosts((0, 0, 0), (10, 10, 10)), (0, 1, 2), 60, {0: 2, 1: 2, 2: 2}),
        (BlockCosts((0, 0, 0), (10, 10, 10)), (0, 2), 75, {0: 4, 2: 3}),  # 5 are left
        (BlockCosts((0, 0, 0), (10, 10, 10)), (1,), 19, {1: 1}),
        (BlockCosts((5, 5), (10, 10)), (0, 1), 50, {0: 2, 1: 2}),
        (BlockCosts((0, 0), (30, 10)), (0, 1), 50, {0: 1, 1: 2}),  # blocks of different sizes
    ],
)
def test_ranks_come_near_the_budget_from_below(costs, blocks, budget, ranks):
    assert costs.ranks(blocks, budget) == ranks
    left = budget - costs.parameters(ranks)
    assert 0 <= left < max(costs.per_rank[block] for block in blocks)


def test_refuses(tiny):
    with pytest.raises(ConfigError, match="9 parameters are too few for a LoRA in 2 blocks"):
        BlockCosts((0, 0), (10, 10)).ranks((0, 1), 9)
    with pytest.raises(ConfigError, match="not IA3Config"):
        with_ranks(IA3Config(), "model.layers", {0: 1})
    with pytest.raises(ConfigError, match="not AdaLoraConfig"):
        block_costs(tiny.lm, AdaLoraConfig(total_step=9, tinit=0, tfinal=0))
    with pytest.raises(ConfigError, match="use_rslora"):
        with_ranks(lora(use_rslora=True), "model.layers", {0: 1, 1: 2})


def test_rslora_keeps_its_alpha():
    changed = with_ranks(lora(use_rslora=True), "model.layers", {0: 9, 1: 9})
    assert (changed.r, changed.lora_alpha) == (9, 6)
