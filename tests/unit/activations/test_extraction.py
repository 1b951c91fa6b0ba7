from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import LoraConfig
from torch import Tensor, nn

from taskdepth import layers
from taskdepth.activations import extraction
from taskdepth.activations.capture import each_depth
from taskdepth.activations.extraction import Adapted, extract, extract_each, extract_tokens
from taskdepth.activations.pooling import Pooling
from taskdepth.errors import ModelError
from taskdepth.models import adapters
from taskdepth.models.loading import LanguageModel
from taskdepth.models.packing import can_pack
from tiny import tiny_llama

POOLINGS = [Pooling.LAST_TOKEN, Pooling.MEAN]
LENGTHS = (3, 11, 1, 7, 20, 2, 2)


def prompts(seed: int = 0, vocabulary: int = 50) -> list[list[int]]:
    torch.manual_seed(seed)
    return [torch.randint(1, vocabulary, (length,)).tolist() for length in LENGTHS]


def small(model_type: str) -> nn.Module:
    """A random model of another family, 16 wide, three blocks."""
    torch.manual_seed(1)
    common = {"num_hidden_layers": 3, "hidden_size": 16, "num_attention_heads": 2, "vocab_size": 50}
    common["intermediate_size"] = 32
    configs = {
        "llama": transformers.LlamaConfig(**common),
        "gemma2": transformers.Gemma2Config(**common, num_key_value_heads=2, head_dim=8),
        # every other block attends to the last few tokens only
        "gemma3": transformers.Gemma3TextConfig(
            **common, num_key_value_heads=2, head_dim=8, sliding_window=4, sliding_window_pattern=2
        ),
        "gpt2": transformers.GPT2Config(n_layer=3, n_embd=16, n_head=2, vocab_size=50),
        "gpt_neox": transformers.GPTNeoXConfig(**common),
        "opt": transformers.OPTConfig(**common, word_embed_proj_dim=16, ffn_dim=32),
    }
    return transformers.AutoModelForCausalLM.from_config(configs[model_type]).eval()


def from_hugging_face(lm: nn.Module, prompt: list[int]) -> dict[Pooling, Tensor]:
    """Each depth one prompt at a time, by output_hidden_states; the last depth before the norm."""
    blocks = layers.find_blocks(lm)
    last: dict[str, Tensor] = {}
    handle = blocks[-1].register_forward_hook(
        lambda m, a, out: last.update(state=out[0] if isinstance(out, tuple) else out)
    )
    with torch.no_grad():
        states = lm(torch.tensor([prompt]), output_hidden_states=True).hidden_states
    handle.remove()
    depths = torch.stack([*states[:-1], last["state"]])[:, 0]
    return {Pooling.LAST_TOKEN: depths[:, -1], Pooling.MEAN: depths.mean(dim=1)}


@pytest.mark.parametrize("model_type", ["llama", "gemma2", "gpt2", "gpt_neox", "opt"])
@pytest.mark.parametrize(
    ("batch_tokens", "how"),
    [
        (1, {"padding_side": "right"}),
        (30, {"padding_side": "left"}),
        (10_000, {"padding_side": "right"}),
        (10_000, {"padding_side": "left"}),
        (1, {"pack": True}),
        (30, {"pack": True}),
        (10_000, {"pack": True}),
    ],
)
def test_every_depth_equals_hidden_states(
    model_type: str, batch_tokens: int, how: dict[str, Any]
) -> None:
    lm = small(model_type)
    if "pack" in how and not can_pack(lm):
        assert model_type == "gemma2", "the one family here that caps its attention scores"
        return
    found = extract(lm, prompts(), poolings=POOLINGS, batch_tokens=batch_tokens, **how)
    for i, prompt in enumerate(prompts()):
        expected = from_hugging_face(lm, prompt)
        for pooling in POOLINGS:
            torch.testing.assert_close(
                found[pooling][:, i], expected[pooling], rtol=1e-5, atol=1e-5
            )


def related(vocabulary: int = 50) -> list[list[int]]:
    """Prompts that begin alike, one inside another, two the same, and one of its own."""
    torch.manual_seed(2)
    tokens = torch.randint(1, vocabulary, (40,)).tolist()
    return [
        *(tokens[:9] + tokens[i : i + 5] for i in (20, 25, 30)),
        *(tokens[:6], tokens[:6], tokens[:9]),
        *([*tokens[:12], 48], [*tokens[:12], 49], tokens[30:]),
    ]


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "gpt_neox", "opt", "gemma3"])
@pytest.mark.parametrize("batch_tokens", [10, 20, 1000])
def test_what_prompts_share_is_read_once_and_changes_nothing(
    model_type: str, batch_tokens: int
) -> None:
    lm = small(model_type)
    assert can_pack(lm)
    n_read: list[int] = []
    lm.get_input_embeddings().register_forward_hook(lambda m, a, out: n_read.append(out.shape[1]))
    targets = list(range(1, 10))
    asked: dict[str, Any] = {"poolings": list(Pooling), "first_targets": targets}
    found = extract(lm, related(), **asked, pack=True, batch_tokens=batch_tokens)
    n_packed = sum(n_read)
    for i, prompt in enumerate(related()):
        alone = extract(lm, [prompt], poolings=list(Pooling), first_targets=[targets[i]])
        for pooling in Pooling:
            torch.testing.assert_close(
                found[pooling][:, i], alone[pooling][:, 0], rtol=1e-5, atol=1e-5
            )
    read = [(*prompt, target) for prompt, target in zip(related(), targets, strict=True)]
    apart = {sequence[:n] for sequence in read for n in range(1, len(sequence) + 1)}
    if batch_tokens == 1000:
        assert n_packed == len(apart)
    else:
        assert len(apart) < n_packed < sum(map(len, read))


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("depths", [[0], [2], [3, 1], [4]])
def test_only_the_wanted_depths_and_nothing_above_them(depths: list[int], pack: bool) -> None:
    lm = tiny_llama().lm
    ran: list[int] = []
    for number, block in enumerate(layers.find_blocks(lm)):
        block.self_attn.register_forward_hook(lambda *_, number=number: ran.append(number))
    whole = extract(lm, prompts(), poolings=POOLINGS, pack=pack)
    ran.clear()
    found = extract(lm, prompts(), poolings=POOLINGS, depths=depths, pack=pack)
    assert set(ran) == set(range(max(depths)))
    for pooling in POOLINGS:
        assert torch.equal(found[pooling], whole[pooling][depths])


@pytest.mark.parametrize("how", [{"pack": True}, {"padding_side": "left"}, {}])
def test_the_first_target_token_is_read_after_the_prompt(how: dict[str, Any]) -> None:
    lm = small("llama")
    targets = [7, 3, 9, 1, 2, 30, 4]
    poolings = [*POOLINGS, Pooling.FIRST_TARGET]
    found = extract(lm, prompts(), poolings=poolings, first_targets=targets, batch_tokens=30, **how)
    plain = extract(lm, prompts(), poolings=POOLINGS)
    for i, (prompt, target) in enumerate(zip(prompts(), targets, strict=True)):
        expected = from_hugging_face(lm, [*prompt, target])[Pooling.LAST_TOKEN]
        torch.testing.assert_close(
            found[Pooling.FIRST_TARGET][:, i], expected, rtol=1e-5, atol=1e-5
        )
    for pooling in POOLINGS:  # what comes after a prompt does not change it
        torch.testing.assert_close(found[pooling], plain[pooling], rtol=1e-5, atol=1e-5)


def test_post_norm_is_hugging_faces_last_hidden_state() -> None:
    lm = small("llama")
    pre = extract(lm, prompts(), poolings=POOLINGS)[Pooling.LAST_TOKEN]
    post = extract(lm, prompts(), poolings=POOLINGS, final_norm="post")[Pooling.LAST_TOKEN]
    for i, prompt in enumerate(prompts()):
        last = lm(torch.tensor([prompt]), output_hidden_states=True).hidden_states[-1][0, -1]
        torch.testing.assert_close(post[-1, i], last, rtol=1e-5, atol=1e-5)
    assert torch.equal(pre[:-1], post[:-1])
    assert not torch.allclose(pre[-1], post[-1])


def adapted(lm: nn.Module, blocks: list[int]) -> nn.Module:
    config = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    return adapters.attach(lm, config, blocks)


@pytest.mark.parametrize("first", [0, 1, 3])
def test_below_the_first_adapted_block_nothing_changes_bit_for_bit(first: int) -> None:
    lm = tiny_llama().lm
    before = extract(lm, prompts(), poolings=POOLINGS)
    torch.manual_seed(3)
    wrapped = adapted(lm, list(range(first, 4))).eval()
    tuned = extract(wrapped, prompts(), poolings=POOLINGS)
    for pooling in POOLINGS:
        below = slice(0, first + 1)  # block b's output is depth b + 1
        assert torch.equal(before[pooling][below], tuned[pooling][below])
        assert not torch.allclose(before[pooling][first + 1], tuned[pooling][first + 1])


def test_the_adapter_off_is_the_model_itself_bit_for_bit() -> None:
    lm = tiny_llama().lm
    before = extract(lm, prompts(), poolings=POOLINGS)
    wrapped = adapted(lm, [0, 1, 2, 3]).eval()
    with wrapped.disable_adapter():
        off = extract(wrapped, prompts(), poolings=POOLINGS)
    adapters.detach(wrapped)
    after = extract(lm, prompts(), poolings=POOLINGS)
    for pooling in POOLINGS:
        assert torch.equal(before[pooling], off[pooling])
        assert torch.equal(before[pooling], after[pooling])


def saved(lm: nn.Module, blocks: list[int], folder: Path, seed: int) -> Adapted:
    torch.manual_seed(seed)
    wrapped = adapted(lm, blocks)
    adapters.save(wrapped, folder)
    adapters.detach(wrapped)
    return Adapted(lambda: adapters.loaded(lm, folder), adapters.first_block(lm, folder))


@pytest.mark.parametrize("held_bytes", [2**30, 1])
@pytest.mark.parametrize("depths", [None, [0, 1], [3], [4, 2, 0]])
@pytest.mark.parametrize("itself", [True, False])
@pytest.mark.parametrize("pack", [True, False])
def test_models_that_read_together_read_as_each_alone_bit_for_bit(
    pack: bool,
    itself: bool,
    depths: list[int] | None,
    held_bytes: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extraction, "PREFIX_BYTES", held_bytes)
    lm = tiny_llama().lm
    asked: dict[str, Any] = {"poolings": POOLINGS, "depths": depths, "pack": pack}
    asked |= {"batch_tokens": 24, "final_norm": "post"}
    upper, all_blocks, top = (
        saved(lm, blocks, tmp_path / str(blocks[0]), seed=blocks[0])
        for blocks in ([2, 3], [0, 1, 2, 3], [3])
    )
    assert [one.first_block for one in (upper, all_blocks, top)] == [2, 0, 3]
    alone = [extract(lm, prompts(), **asked)] if itself else []
    for one in (upper, all_blocks, top):
        with one.wear() as model:
            alone.append(extract(model, prompts(), **asked))
    ran: list[int] = []
    for number, block in enumerate(layers.find_blocks(lm)):
        block.mlp.register_forward_hook(lambda *_, number=number: ran.append(number))
    told: list[int] = []
    together = extract_each(
        lm, [upper, all_blocks, top], prompts(), itself=itself, advance=told.append, **asked
    )
    assert sum(told) == len(alone) * len(LENGTHS)
    for found, expected in zip(together, alone, strict=True):
        for pooling in POOLINGS:
            assert torch.equal(found[pooling], expected[pooling])
    if depths is None:
        n_batches = len(told) // len(alone)
        # block 1 runs for the model itself and for the adapter in all blocks, block 3 for all
        assert (ran.count(1), ran.count(3)) == (2 * n_batches, (3 + itself) * n_batches)


def test_bfloat16_states_come_as_float32_and_close() -> None:
    lm = tiny_llama().lm
    exact = extract(lm, prompts(), poolings=POOLINGS)[Pooling.MEAN]
    rough = extract(lm.bfloat16(), prompts(), poolings=POOLINGS)[Pooling.MEAN]
    assert rough.dtype == torch.float32
    assert (rough - exact).norm() / exact.norm() < 0.05


def test_hooks_are_gone_after_an_error_and_progress_is_told() -> None:
    lm = tiny_llama().lm
    with pytest.raises(RuntimeError, match="stop"), each_depth(lm, lambda states: states):
        raise RuntimeError("stop")
    blocks = layers.find_blocks(lm)
    assert not any(block._forward_hooks or block._forward_pre_hooks for block in blocks)
    told: list[int] = []
    extract(lm, prompts(), poolings=[Pooling.MEAN], batch_tokens=12, advance=told.append)
    assert sum(told) == len(LENGTHS)


def test_only_pooled_states_are_kept_and_the_head_does_not_run() -> None:
    lm = tiny_llama().lm
    lm.lm_head.register_forward_hook(lambda *_: pytest.fail("the LM head ran"))
    found = extract(lm, prompts(), poolings=POOLINGS)
    assert found[Pooling.MEAN].shape == (5, len(LENGTHS), 32)
    assert not found[Pooling.MEAN].requires_grad


@pytest.mark.parametrize("model_type", ["llama", "gemma2", "gpt2", "gpt_neox", "opt"])
def test_every_token_of_one_prompt(model_type: str) -> None:
    lm = small(model_type)
    prompt = prompts()[1]
    with torch.no_grad():
        expected = torch.stack(lm(torch.tensor([prompt]), output_hidden_states=True).hidden_states)
    after_norm = extract_tokens(lm, prompt, final_norm="post")
    torch.testing.assert_close(after_norm, expected[:, 0], rtol=1e-5, atol=1e-5)
    pooled = extract(lm, [prompt], poolings=POOLINGS)
    tokens = extract_tokens(lm, prompt)
    torch.testing.assert_close(tokens[:, -1], pooled[Pooling.LAST_TOKEN][:, 0])
    torch.testing.assert_close(tokens.mean(dim=1), pooled[Pooling.MEAN][:, 0])
    assert torch.equal(extract_tokens(lm, prompt, depths=[2, 0]), tokens[[2, 0]])


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_batches_that_do_not_fit_are_halved(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch, error: RuntimeError, pack: bool
) -> None:
    limit_tokens = 9
    read_all = [[1 + i, *range(2, 3 + i)] for i in range(6)]
    expected = extraction.extract(tiny.lm, read_all, poolings=[Pooling.MEAN], pack=pack)
    read = extraction._Reader._read

    def limited(reader: Any, rows: list[int], *args: Any, **options: Any) -> None:
        if reader._batches.n_tokens(rows) > limit_tokens:
            raise error
        read(reader, rows, *args, **options)

    monkeypatch.setattr(extraction._Reader, "_read", limited)
    told: list[int] = []
    asked = {"poolings": [Pooling.MEAN], "pack": pack, "halved": told.append}
    (found,) = extraction.extract_each(tiny.lm, (), read_all, **asked)
    torch.testing.assert_close(found[Pooling.MEAN], expected[Pooling.MEAN], rtol=1e-4, atol=1e-5)
    assert told
    assert told == sorted(told, reverse=True)


def test_one_prompt_too_many_is_told(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(extraction._Reader, "_read", never)
    with pytest.raises(ModelError, match="out of memory with one prompt of 3 tokens"):
        extraction.extract(tiny.lm, [[1, 2, 3], [4, 5]], poolings=[Pooling.MEAN])


def test_other_errors_are_no_lack_of_memory(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(extraction._Reader, "_read", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        extraction.extract(tiny.lm, [[1, 2, 3]], poolings=[Pooling.MEAN])
