"""The dry run: arithmetic that must come out, refusals that must come, and the command."""

from __future__ import annotations

import os

import pytest
import torch

from ranker.config import parse_params, presets
from ranker.errors import BadConfig, BadModel
from ranker.lake import open_lake
from ranker.lake.candidate_sets import load_sets
from ranker.policy.prompts import Prompt, messages
from ranker.stages import candidates, ingest
from ranker.train import estimate as reckoned
from ranker.train.estimate import GIB, Estimate, Run, concurrent, estimate, hardware, states
from ranker.train.model_size import find
from ranker.train.parallel import Parallel
from tests.ranker.factories import make_set
from tests.ranker.material import passes

PAPER = ("r1-3b-distilled", "r1-3b-distilled-4gpu", "r1-3b-distilled-2node")


def made(preset: str, train: dict | None = None, **options) -> Estimate:
    return estimate(parse_params({"preset": preset, "train": train or {}}), **options)


def errors(found: Estimate) -> str:
    return "\n".join(
        f"{finding.text} → {finding.remedy}" for finding in found.findings if finding.level == "error"
    )


@pytest.mark.parametrize("preset", presets())
def test_every_shipped_preset_will_run_where_it_is_meant_to(preset):
    found = made(preset)
    assert found.fits, errors(found)
    assert all(
        phase.per_device * phase.accumulation * found.parallel.processes == phase.batch
        for phase in found.phases
    )


@pytest.mark.parametrize("preset", PAPER)
def test_the_papers_scale_is_the_papers(preset):
    found = made(preset)
    sft, grpo = found.phases
    assert set(found.prompts) == {
        "rec-movie",
        "rec-music",
        "rec-game",
        "router-performance",
        "router-balance",
        "router-cost",
        "passage-5",
        "passage-7",
        "passage-9",
    }
    assert (sft.name, grpo.prompts_per_step, grpo.steps, grpo.prompts) == ("sft", 64, 1500, 90_000)
    assert 1.0 < grpo.epochs < 1.2  # 96,000 prompts drawn of 90,000
    assert grpo.completion_tokens == 1500 * 512 * 1024
    assert max(longest for _, longest in found.prompts.values()) <= 1400
    params = parse_params({"preset": preset}).train
    assert (params.grpo.learning_rate, params.policy.max_length, params.grpo.max_completion_length) == (
        1e-6,
        1400 + 1024,
        1024,
    ) and 1e-4 <= params.grpo.beta <= 1e-3


def test_a_batch_that_cannot_be_cut_is_an_error_with_its_remedy():
    assert "set train.grpo.per_device_train_batch_size to 4" in errors(
        made(
            "r1-3b-distilled-4gpu",
            {"grpo": {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 1}},
        )
    )
    assert made("r1-3b-distilled-4gpu", {"grpo": {"per_device_train_batch_size": 9}}).fits


@pytest.mark.parametrize(
    ("train", "gpu", "remedy"),
    [
        ({}, "a100-40", "gpu-4-fsdp"),
        ({"gradient_checkpointing": False}, "h100", "train.gradient_checkpointing = true"),
        (
            {"grpo": {"per_device_train_batch_size": 64}},
            "h100",
            "lower train.grpo.per_device_train_batch_size",
        ),
        ({"grpo": {"vllm_gpu_memory_utilization": 0.05}}, "h100", "vllm_gpu_memory_utilization to at least"),
        ({"policy": {"max_length": 1150}}, "h100", "longer context"),
        ({"accelerate_config": ""}, "cpu", "use_vllm = false"),
    ],
)
def test_what_does_not_fit_is_an_error_with_its_remedy(train, gpu, remedy):
    found = made("r1-3b-distilled", train, device=gpu)
    assert not found.fits and remedy in errors(found), errors(found)


def test_texts_that_are_cut_to_fit_are_said():
    cut = [
        finding.text
        for finding in made("r1-3b-distilled", {"grpo": {"max_completion_length": 1600}}).findings
        if "texts are cut" in finding.text
    ]
    assert len(cut) == 1 and cut[0].startswith("passage-9")


def test_adapters_fit_a_gpu_of_24_gigabytes_where_whole_weights_do_not():
    found = made("r1-3b-24gb", device="rtx4090")
    assert found.fits, errors(found)
    use = found.memory[0]
    assert use.resident["weights"] == 2 * found.model.parameters + 4 * found.trainable
    assert not made("r1-3b-24gb", {"policy": {"lora_r": 0}}, device="rtx4090").fits


def test_the_remedies_help():
    assert made("r1-3b-distilled", {"accelerate_config": "gpu-4-fsdp"}, device="a100-40").fits
    assert made("r1-3b-distilled", {"policy": {"lora_r": 16}}, device="a100-40").fits
    assert made("r1-3b-distilled-4gpu", {"accelerate_config": "gpu-4-zero3"}).fits
    assert made("r1-3b-distilled-4gpu", {"accelerate_config": "gpu-4-zero2"}).fits


def test_states_by_sharding_follow_zero():
    """Rajbhandari et al. 2020, table 1: 16 Ψ, 2Ψ + 14Ψ/N, 16Ψ/N bytes."""
    model, _ = find(
        parse_params({"preset": "r1-3b-distilled-4gpu"}).home_path,
        parse_params({"preset": "r1-3b-distilled-4gpu"}).train.policy,
    )
    P = model.parameters

    def kept(sharding: str, n: int) -> float:
        resident, training = states(model, P, Parallel(processes=n, sharding=sharding), bf16=True)
        return sum(resident.values()) + training["gradients"]

    assert kept("none", 1) == kept("ddp", 4) == 16 * P
    assert kept("zero2", 4) == 2 * P + 14 * P / 4
    assert kept("zero3", 4) == kept("fsdp", 4) == 16 * P / 4


def test_more_devices_take_less_memory_and_time_each():
    one, four, eight = (made(preset) for preset in PAPER)
    assert (
        one.memory[1].resident["optimizer"]
        == 4 * four.memory[1].resident["optimizer"]
        == 8 * eight.memory[1].resident["optimizer"]
    )
    assert (
        sum(p.hours for p in one.phases)
        > 3.5 * sum(p.hours for p in four.phases)
        > 3.5 * sum(p.hours for p in eight.phases) / 2
    )


def test_shorter_answers_and_faster_devices_take_less_time():
    long, short, fast = (
        made("r1-3b-distilled-4gpu"),
        made("r1-3b-distilled-4gpu", completion=200),
        made("r1-3b-distilled-4gpu", device="h200"),
    )
    assert short.phases[1].hours < 0.5 * long.phases[1].hours and fast.phases[1].hours < long.phases[1].hours
    assert short.phases[1].longest == long.phases[1].longest  # memory is planned for the longest


def test_hours_of_sft_are_six_operations_a_parameter_and_token():
    """On one device without checkpointing: 6 N D, and the attention on top of it."""
    found = made("r1-3b-distilled", {"gradient_checkpointing": False})
    sft, place = found.phases[0], found.hardware
    least = (
        6
        * found.model.parameters
        * (sft.prompt_tokens + sft.completion_tokens)
        / (place.flops * place.mfu)
        / 3600
    )
    assert least < sft.hours < 1.1 * least


def test_measured_rates_are_what_the_cpu_row_gives_back():
    """SmolLM2-135M on two cores (hardware.toml): 350 training tokens a second."""
    found = made("smollm2", device="cpu")
    sft = found.phases[0]
    rate = (sft.prompt_tokens + sft.completion_tokens) / (sft.hours * 3600)
    assert rate == pytest.approx(350, rel=0.15)


def test_a_cpu_is_this_machine_s():
    """Of the kind that torch finds it to be, with its own number of cores."""
    found = made("smollm2")
    capability = torch.cpu.get_capabilities()
    kind = "cpu" if capability.get("avx512_bf16") or capability.get("amx_bf16") else "cpu-float32"
    cores = len(os.sched_getaffinity(0))
    assert found.hardware.source == hardware()[kind].source
    assert found.hardware.title.startswith(f"{cores} CPU cores")
    same = made("smollm2", device=kind)
    assert found.phases[0].hours == pytest.approx(same.phases[0].hours * 2 / cores)


def test_passages_that_are_long_together_are_no_error():
    """Each is read by itself, and cut where it does not fit."""
    texts = [" ".join(["word"] * 30)] * 40
    sets = tuple(make_set([1] + [0] * 39, set_id=f"s{n}", texts=texts) for n in range(3))
    found = estimate(
        parse_params({"preset": "smollm2", "ingest": {"tasks": ["passage-pydoc"]}}),
        data={"passage-pydoc": reckoned.Drawn(sets, 7)},
    )
    assert found.prompts["passage-pydoc"][1] > parse_params({"preset": "smollm2"}).train.policy.max_length
    assert "context" not in errors(found)


def test_vllm_holds_what_its_share_leaves():
    params = parse_params({"preset": "r1-3b-distilled-4gpu"})
    found = estimate(params)
    n = concurrent(Run(params, found.model, None, found.parallel, found.hardware), found.phases[1])
    room = (
        params.train.grpo.vllm_gpu_memory_utilization * found.hardware.memory
        - 2 * found.model.parameters
        - GIB
    )
    assert (
        n * found.phases[1].longest * found.model.kv_bytes()
        <= room
        < (n + 1) * found.phases[1].longest * found.model.kv_bytes()
    )


def test_the_models_own_tokenizer_counts_where_its_folder_is_there(home):
    from ranker.train.worker.policy import build_model, build_tokenizer

    params = parse_params({"preset": "tiny"}).train.policy
    folder = home / "models" / "mine"
    tokenizer = build_tokenizer([f"t{i}" for i in range(100)], {}, params)
    tokenizer.save_pretrained(folder)
    build_model(tokenizer, params).save_pretrained(folder)
    given = {
        "ingest": {"tasks": ["synthetic"]},
        "train": {"policy": {"model_name_or_path": "models/mine", "style": "chat", "max_length": 400}},
    }
    found = estimate(parse_params(given))
    assert found.model.vocab == len(tokenizer) and not any(
        "not on this machine" in finding.text for finding in found.findings
    )
    words = 1 + len(
        reckoned.fit(
            reckoned.Prompt("exclude", True, reckoned._made_up(reckoned.task("synthetic"), 4, 12)),
            "chat",
            lambda _: 0,
            9,
        )[0]["content"].split()
    )
    assert found.prompts["synthetic"][1] == words  # one token a word, and <bos>


def test_evaluation_and_validation_are_counted():
    found = made("tiny")
    validation, evaluated = found.rankings
    pool, queries = 4, 100
    assert evaluated.name == "evaluate" and evaluated.queries == 3 * 2 * 2 * queries
    assert evaluated.calls == 3 * 2 * queries * (pool - 1 + 1)  # three models; exclusions, and one order
    assert validation.queries == 100 * (1 + 400 // 50 + 1 + 40 // 4)
    assert made("tiny", {"eval_queries": 0}).rankings == (evaluated,)
    big = made("r1-3b-distilled").rankings[-1]
    assert big.completion_tokens > 1024 * big.calls / 2 and big.hours > 1
    assert f"{sum(p.hours for p in (*found.phases, *found.rankings)):.1f} hours" in found.verdict


def test_prompts_are_measured_in_the_sets_that_are_there(home):
    """A word each, and <bos>: as many words as the prompts really have."""
    sets = [
        make_set([1, 0], set_id=f"s{n}", texts=[" ".join(f"w{i}" for i in range(40 + n))] * 2)
        for n in range(9)
    ]
    params = parse_params({"preset": "tiny"})
    data = {"synthetic": reckoned.Drawn(tuple(sets), 7)}
    found, without = estimate(params, data=data), estimate(params)
    longest = 1 + len(messages(Prompt("exclude", True, sets[-1]), "compact")[-1]["content"].split())
    assert found.prompts["synthetic"][1] == longest != without.prompts["synthetic"][1]
    assert (found.measured, without.measured) == (("synthetic",), ())
    assert found.rankings[-1].queries == 7 * 3 * 2 * 2, "and the test queries are counted"


def test_the_newest_candidate_sets_of_a_task_are_looked_at(tmp_path):
    with open_lake(tmp_path) as lake:
        params = parse_params({"preset": "tiny", "home": str(tmp_path)})
        assert reckoned.drawn(lake, params) == {}
        source = ingest.run(lake, params.ingest, check=passes)
        for pool in (5, 4):
            given = params.candidates.model_copy(update={"pool_size": {"synthetic": pool}})
            sets = candidates.run(lake, given, source=source, check=passes)
        found = reckoned.drawn(lake, params)["synthetic"]
        assert {len(one) for one in found.sample} == {4} and len(found.sample) == reckoned.SAMPLE
        assert {one.split for one in found.sample} == {"train"}
        assert found.tests == len(load_sets(lake, sets.key, split="test"))


def test_what_is_unknown_is_named():
    with pytest.raises(BadConfig, match="b200"):
        made("tiny", device="b200")
    with pytest.raises(BadModel, match=r"config\.json"):
        made("tiny", {"policy": {"model_name_or_path": "models/none", "style": "chat"}})
    with pytest.raises(BadConfig, match="gpu-4-fsdp"):
        made("tiny", {"accelerate_config": "gpu-5"})


def test_every_device_says_where_its_figures_come_from():
    assert all(
        len(device.source) > 20 and 0 < device.mfu <= 1 and 0 < device.decode <= 1
        for device in hardware().values()
    )
