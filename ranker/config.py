"""Parameters of a retraining run: one validated model a stage, presets and tasks as TOML files.

`RetrainParams` is what the Prefect UI shows as its form and what `ranker retrain` accepts. A preset
(`ranker/presets/*.toml`) fills every section; what a caller gives is laid over it. A task
(`ranker/tasks/*.toml`, or a file in a folder of $RANKER_TASKS) says where one dataset's data is and how its
prompt is worded.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from ranker.errors import BadConfig
from ranker.resources import shipped

Stage = Literal["ingest", "candidates", "distill", "train", "evaluate", "register"]
STAGES: tuple[Stage, ...] = ("ingest", "candidates", "distill", "train", "evaluate", "register")
Scenario = Literal["recommendation", "passage", "routing", "synthetic"]
StrategyName = Annotated[
    str, StringConstraints(pattern=r"^[a-z-]+(:[a-z]+=[a-z0-9.]+(,[a-z]+=[a-z0-9.]+)*)?$")
]
"""`iterative`, or with parameters `window:size=10,step=5`.

ranker/strategies says which there are; flows ask it before they begin.
"""
LossType = Literal["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"]
"""What TRL's GRPOTrainer computes; a test compares it with the installed TRL."""


class Section(BaseModel):
    """Base of all parameter sections: unknown fields are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Defaults are told in words and not as values: a form (Prefect's UI) sends every value that it is
        given, which would override what the chosen preset says.
        """
        schema = handler.resolve_ref_schema(handler(core))
        for name, field in schema.get("properties", {}).items():
            if name != "preset" and "default" in field:
                default = field.pop("default")
                field["description"] = (
                    f"{field.get('description', '')} Unless the preset says otherwise: {default!r}.".strip()
                )
        return schema


class Task(Section):
    """One ranking task: where its data is, which reader reads it, how its prompt is worded."""

    name: str
    scenario: Scenario
    reader: str = Field(description="module of ranker/datasets that reads it")
    location: str = Field(
        "",
        description=(
            "folder or file below the data folder, or https:// or hf:// addresses (docs/tasks.md); empty"
            " where the reader needs none"
        ),
    )
    package: str = Field(
        "", description="wheel that carries the data, fetched by `ranker fetch`, e.g. recbole==1.2.1"
    )
    member: str = Field("", description="folder inside that wheel")
    item_tokens: bool = Field(
        False, description="compact prompts name an item by one token instead of its text"
    )
    pool_size: int = Field(ge=2, le=100, description="candidates shown per query")
    pools: Literal["", "given", "drawn"] = Field(
        "",
        description=(
            "passages: 'given' ranks the judged documents of each query, 'drawn' (the default) draws"
            " negatives from the collection"
        ),
    )
    max_words: int = Field(
        24, ge=1, description="candidate texts are cut to this many words in compact prompts"
    )
    wording: str = Field(description="one sentence for chat prompts: what is ranked for whom")
    options: dict[str, Any] = Field(default_factory=dict, description="passed to the reader")

    @model_validator(mode="after")
    def _pools_fit(self) -> Task:
        if self.pools and self.scenario != "passage":
            raise ValueError(
                f"pools is a choice of the scenario passage alone; seen pools {self.pools!r} and scenario"
                f" {self.scenario!r}"
            )
        return self

    @property
    def pools_given(self) -> bool:
        """Whether a query's pool is what comes judged with it, instead of one positive and drawn
        negatives.
        """
        return self.pools == "given" or self.scenario in ("routing", "synthetic")


class IngestParams(Section):
    """Which tasks are read, and from where."""

    tasks: tuple[str, ...] = Field(
        ("rec-movie", "passage-pydoc"),
        min_length=1,
        description="Names of tasks (files in ranker/tasks or in a folder of $RANKER_TASKS).",
    )
    locations: dict[str, str] = Field(
        default_factory=dict,
        description=(
            "Your own data: task name → folder, file, or https:// or hf:// addresses, instead of the task's"
            " default."
        ),
    )


class CandidateParams(Section):
    """How queries and their candidate pools are drawn."""

    pool_size: dict[str, int] = Field(
        default_factory=dict, description="Candidates per query, by task; empty takes each task's own."
    )
    history: int = Field(
        12, ge=1, description="Recommendation: the latest so many items before the target are shown."
    )
    negatives: Literal["popularity", "uniform"] = Field(
        "popularity",
        description="Recommendation: how negatives are drawn. Uniform makes popularity a near-oracle.",
    )
    bm25_share: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Passages: share of the negatives taken from BM25's best, the rest at random.",
    )
    test_share: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="Share of users (or of query groups) held out before anything is derived.",
    )
    valid_share: float = Field(
        0.1,
        ge=0,
        lt=1,
        description=(
            "Share of the remaining users (or groups) on which choices are made: never trained on, never"
            " reported."
        ),
    )
    test_per_user: int = Field(
        4,
        ge=1,
        description=(
            "Recommendation: latest so many targets of a held-out user become test (or validation) queries."
        ),
    )
    train_per_user: int = Field(
        40, ge=1, description="Recommendation: at most so many targets of a training user."
    )
    max_train: int = Field(40_000, ge=1, description="At most so many training queries per task.")
    max_test: int = Field(1_000, ge=1, description="At most so many test queries per task.")
    max_valid: int = Field(400, ge=1, description="At most so many validation queries per task.")
    seed: int = Field(7, description="Every draw derives from it.")


class DistillParams(Section):
    """Who teaches, what a trace looks like, and which traces are kept. docs/distillation.md tells more."""

    teacher: str = Field(
        "classical",
        description=(
            "'classical' (each scenario's own ranker, labelled as such), one ranker by name (item-knn,"
            " popularity, bm25, idf-overlap, overlap, knn-effect, best-llm), or a model: folder / hub name,"
            " vllm:<model>, openai:<base url>#<model> (key in $OPENAI_API_KEY)."
        ),
    )
    teachers: dict[str, str] = Field(
        default_factory=dict, description="Another teacher for single tasks: task name → as `teacher`."
    )
    traces: int = Field(40_000, ge=1, description="Traces asked for per task.")
    min_pool: int = Field(2, ge=2, description="Smallest sub-pool a trace is written for.")
    rank_share: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Share of traces that name the whole order (DRanker) instead of one exclusion (IRanker).",
    )
    nothink_share: float = Field(
        0.15,
        ge=0,
        le=1,
        description="Share of traces without reasoning, so that the no-think arm is a fair one.",
    )
    shape: Literal["dense", "sparse"] = Field(
        "dense",
        description=(
            "Classical teachers' reasoning: a grade for every candidate, or the grade of the one candidate"
            " that decides."
        ),
    )
    grades: int = Field(5, ge=2, le=10, description="Number of grades a trace uses: 0 (worst) to grades − 1.")
    reject: bool = Field(
        True, description="Reject traces whose action is wrong; they are stored with the reason."
    )
    majority: bool = Field(
        False,
        description=(
            "Models: reject samples that disagree with the majority of their prompt's samples. With reject ="
            " false the majority alone decides."
        ),
    )
    samples: int = Field(1, ge=1, le=64, description="Models: answers sampled per prompt.")
    temperature: float = Field(0.0, ge=0, description="Models: 0 is greedy; several samples need more.")
    keep: int = Field(1, ge=1, description="Models: at most so many accepted answers per prompt.")
    max_completion_length: int = Field(
        512, ge=4, description="Models: tokens; longer answers are cut and rejected."
    )
    max_calls: int = Field(
        0, ge=0, description="Models: the stage ends with what it has after so many answers; 0 for no limit."
    )
    max_tokens: int = Field(0, ge=0, description="Models: as max_calls, in prompt plus completion tokens.")
    price_in: float = Field(
        0.0, ge=0, description="Models: price of a million prompt tokens, in any currency."
    )
    price_out: float = Field(0.0, ge=0, description="Models: price of a million completion tokens.")
    concurrency: int = Field(8, ge=1, description="Endpoints: requests in flight.")
    timeout_seconds: float = Field(120.0, gt=0, description="Endpoints: longest wait for one answer.")
    seed: int = Field(11, description="Every draw derives from it.")

    @model_validator(mode="after")
    def _samples_differ(self) -> DistillParams:
        if self.samples > 1 and not self.temperature:
            raise ValueError(
                "several samples of one prompt need a temperature above 0, or all are the same; seen samples"
                f" {self.samples}, temperature 0"
            )
        return self


class PolicyParams(Section):
    """The model that is trained."""

    model_name_or_path: str = Field(
        "scratch", description="'scratch', or a folder / hub name of a causal LM with a chat template."
    )
    style: Literal["compact", "chat"] = Field(
        "compact", description="Prompt style: compact for from-scratch vocabularies, chat for chat models."
    )
    num_hidden_layers: int = Field(4, ge=1, description="Scratch only: decoder layers.")
    hidden_size: int = Field(192, ge=8, description="Scratch only: width.")
    num_attention_heads: int = Field(3, ge=2, description="Scratch only: attention heads.")
    head_dim: int = Field(64, ge=8, multiple_of=2, description="Scratch only: width of one head.")
    intermediate_size: int = Field(256, ge=8, description="Scratch only: width of the MLPs.")
    structured: bool = Field(
        True,
        description=(
            "Scratch only: start from arranged instead of independent random weights"
            " (ranker/train/worker/start.py)."
        ),
    )
    answering: bool = Field(
        False,
        description=(
            "Scratch only, structured: the start also knows the form of an answer"
            " (ranker/train/worker/answering.py). Wants rates as in presets/prove-synthetic.toml: little for"
            " the layers, much for the head."
        ),
    )
    meaning: int = Field(
        48,
        ge=4,
        description=(
            "Scratch only: dimensions of the structured start's meaning block; at most head_width and half of"
            " inner."
        ),
    )
    items: Literal["cooccurrence", "random"] = Field(
        "cooccurrence",
        description=(
            "Scratch only, structured: what items mean at first: what training users touched together, or"
            " nothing (random directions), so that traces and rewards have to teach it."
        ),
    )
    codes: int = Field(
        20, ge=4, description="Scratch only: dimensions of the structured start's label codes."
    )
    grades: int = Field(5, ge=2, le=10, description="Scratch only: grades that the structured start knows.")
    vocab_size: int = Field(
        6_000,
        ge=50,
        description=(
            "Scratch only: at most so many words; items, labels and grades come on top (those of the data)."
        ),
    )
    max_length: int = Field(1_024, ge=64, description="Longest prompt plus completion, in tokens.")
    lora_r: int = Field(0, ge=0, description="0 trains full weights; otherwise LoRA of this rank.")
    seed: int = Field(13, description="Initial weights.")


class Phase(Section):
    """What all training phases have: sizes of a step, and learning rates of the weights as multiples of
    `learning_rate`. Names and meanings are those of transformers' TrainingArguments.
    """

    max_steps: int
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    learning_rate: float
    save_steps: int
    seed: int

    def batch(self, processes: int) -> int:
        """Examples (traces, prompts, completions) of one optimizer step over all processes."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps * processes

    embedding_rate: float = Field(
        1.0,
        gt=0,
        description=(
            "Learning rate of the input embeddings, as a multiple of the phase's. A token's row is moved only"
            " by the batches that it is in."
        ),
    )
    item_rate: float = Field(
        0.0, ge=0, description="The same for the rows of items that users consume; 0 takes embedding_rate."
    )
    layer_rate: float = Field(
        1.0,
        ge=0,
        description=(
            "Learning rate of the decoder's layers, as a multiple of the phase's; 0 leaves them as they are"
            " and saves a fifth of the time."
        ),
    )
    head_rate: float = Field(
        1.0, gt=0, description="Learning rate of the output embeddings, as a multiple of the phase's."
    )


class SFTParams(Phase):
    """Cold start on the traces."""

    max_steps: int = Field(1_200, ge=0, description="Optimizer steps; 0 skips the phase.")
    per_device_train_batch_size: int = Field(
        96, ge=1, description="Traces that a process holds at once. A step has them × passes × processes."
    )
    gradient_accumulation_steps: int = Field(
        1, ge=1, description="Forward and backward passes that make one step."
    )
    learning_rate: float = Field(1e-3, gt=0)
    warmup_steps: float = Field(
        0.05, ge=0, description="Steps over which the learning rate rises; below 1 a share of all steps."
    )
    save_steps: int = Field(200, ge=1, description="Checkpoint interval, in steps.")
    seed: int = 17


class ExactParams(Phase):
    """Reinforcement learning by exact expected reward: every alternative of every decision enumerated,
    nothing generated. Compact prompts only.
    """

    max_steps: int = Field(0, ge=0, description="Optimizer steps; 0 skips the phase.")
    per_device_train_batch_size: int = Field(
        64, ge=1, description="Prompts that a process holds at once. A step has them × passes × processes."
    )
    gradient_accumulation_steps: int = Field(
        1, ge=1, description="Forward and backward passes that make one step."
    )
    learning_rate: float = Field(1e-4, gt=0)
    objective: Literal["log", "expected"] = Field(
        "log",
        description=(
            "Of every decision: the logarithm of its expected reward above that of an invalid one, or the"
            " expected reward itself, whose gradient vanishes where the policy is sure of an invalid token."
        ),
    )
    form_below: float = Field(
        0.3,
        ge=0,
        le=1,
        description=(
            "Share of the gradient of an answer's form (the probability of a token that is an alternative at"
            " all) that passes below the output embeddings. 0: they alone learn it, and fall behind where"
            " little may move; 1: what is below gives ranking for form."
        ),
    )
    trace_weight: float = Field(0.0, ge=0, le=1, description="As in grpo, for the grades.")
    entropy_coef: float = Field(
        0.0, ge=0, description="Weight of the decisions' entropy: keeps alternatives alive."
    )
    curriculum: float = Field(0.0, ge=0, le=1, description="As in grpo.")
    save_steps: int = Field(100, ge=1, description="Checkpoint interval, in steps.")
    seed: int = 29


class GRPOParams(Phase):
    """Reinforcement learning on the true relevance."""

    max_steps: int = Field(300, ge=0, description="Optimizer steps; 0 skips the phase.")
    per_device_train_batch_size: int = Field(
        128,
        ge=1,
        description=(
            "Completions that a process holds at once. A step has them × passes × processes, a multiple of"
            " num_generations."
        ),
    )
    gradient_accumulation_steps: int = Field(
        1,
        ge=1,
        description=(
            "Forward and backward passes that make one step; all its completions are generated at once,"
            " before them."
        ),
    )
    num_generations: int = Field(
        8, ge=2, description="Completions per prompt: the group whose mean is the baseline."
    )
    learning_rate: float = Field(2e-4, gt=0)
    beta: float = Field(0.0, ge=0, description="KL coefficient.")
    temperature: float = Field(1.0, gt=0)
    loss_type: LossType = Field("dr_grpo", description="The losses of TRL's GRPOTrainer.")
    num_iterations: int = Field(
        1, ge=1, description="Steps on the same completions; more than one makes the clipping work."
    )
    epsilon: float = Field(0.2, gt=0, lt=1, description="Clip range of the importance ratio, below 1.")
    epsilon_high: float | None = Field(None, gt=0, description="Clip range above 1; nothing takes epsilon.")
    importance_sampling_level: Literal["token", "sequence"] = Field(
        "token", description="Importance ratios per token, or per sequence (GSPO; luspo wants it)."
    )
    use_vllm: bool = Field(False, description="Rollouts by vLLM. Needs a CUDA GPU and the package vllm.")
    vllm_mode: Literal["colocate", "server"] = Field(
        "colocate", description="vLLM in the trainer's own processes, or a running `vllm serve`."
    )
    vllm_gpu_memory_utilization: float = Field(
        0.3,
        gt=0,
        lt=1,
        description="Colocated vLLM: its share of a GPU's memory, for weights and KV cache.",
    )
    vllm_enable_sleep_mode: bool = Field(
        True, description="Colocated vLLM gives its memory back while weights are updated."
    )
    vllm_server_host: str = Field("127.0.0.1", description="vLLM server: host.")
    vllm_server_port: int = Field(8000, ge=1, le=65535, description="vLLM server: port.")
    scale_rewards: Literal["group", "batch", "none"] = "group"
    reward: Literal["ranking", "blind"] = Field(
        "ranking",
        description=(
            "blind is a control: the same rewards on the shown order instead of the relevance, so that"
            " ranking better earns nothing."
        ),
    )
    exclusion: Literal["binary", "regret"] = Field(
        "binary", description="IRanker reward: chance-corrected hit, or graded by the relevance regret."
    )
    trace_weight: float = Field(
        0.5,
        ge=0,
        le=1,
        description=(
            "Weight of a second reward: how well the grades in the reasoning order the pool. 0 rewards the"
            " action alone."
        ),
    )
    rank_share: float = Field(
        0.25, ge=0, le=1, description="Share of prompts that ask for the whole order (DRanker)."
    )
    nothink_share: float = Field(0.1, ge=0, le=1, description="Share of prompts that forbid reasoning.")
    survivors: float = Field(
        0.5,
        ge=0,
        le=1,
        description=(
            "Share of exclusion prompts whose pool is what elimination by the teacher would leave, instead of"
            " a random one."
        ),
    )
    on_policy: float = Field(
        0.0,
        ge=0,
        le=1,
        description=(
            "Share of exclusion prompts whose pool is one that the policy itself has reached, an elimination"
            " rolled out from its whole pool; the rest is drawn beforehand."
        ),
    )
    resample: int = Field(
        0,
        ge=0,
        le=8,
        description=(
            "How often the prompts of groups whose rewards are all alike are replaced by others before a"
            " step."
        ),
    )
    curriculum: float = Field(
        0.0,
        ge=0,
        le=1,
        description=(
            "Share of the steps over which the largest pool allowed grows to the whole; 0 shows every size"
            " from the first step."
        ),
    )
    max_completion_length: int = Field(
        32,
        ge=4,
        description=(
            "Tokens; longer answers are cut and count as truncated. One that never ends holds up its whole"
            " batch."
        ),
    )
    pool_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description=(
            "Sizes of the exclusion prompts' pools: one candidate more is so many times as probable; 1 has"
            " all sizes alike. Small pools are cheap, and an exclusion from two says more than one from"
            " eight."
        ),
    )
    prompts: int = Field(20_000, ge=1, description="Distinct prompts prepared per task.")
    save_steps: int = Field(100, ge=1, description="Checkpoint interval, in steps.")
    seed: int = 19

    @property
    def colocates(self) -> bool:
        """Whether vLLM runs in the trainer's own processes."""
        return self.use_vllm and self.vllm_mode == "colocate"


class TrainParams(Section):
    """The policy and its training phases (SFT, exact expected reward if it has steps, GRPO), run in a
    process of their own.
    """

    policy: PolicyParams = Field(default_factory=PolicyParams)
    sft: SFTParams = Field(default_factory=SFTParams)
    exact: ExactParams = Field(default_factory=ExactParams)
    grpo: GRPOParams = Field(default_factory=GRPOParams)
    weights: dict[str, float] = Field(
        default_factory=dict,
        description=(
            "Sampling weight per task; absent means 1. 0 trains on nothing of it: its words and items stay in"
            " the vocabulary."
        ),
    )
    accelerate_config: str = Field(
        "",
        description=(
            "How many processes, and what they share: a shipped configuration (a name of"
            " ranker/train/accelerate, e.g. cpu-2, gpu-4-fsdp) or a file for `accelerate launch"
            " --config_file`; empty runs one process."
        ),
    )
    main_address: str = Field(
        "",
        description=(
            "host:port at which the processes of several machines meet; the first machine's address. One"
            " machine needs none."
        ),
    )
    bf16: bool | None = Field(
        None,
        description=(
            "Arithmetic in bfloat16 (autocast, on a CPU too) or float32; weights stay float32. Nothing takes"
            " bfloat16 for a pretrained model on a GPU."
        ),
    )
    gradient_checkpointing: bool = Field(
        False,
        description="Activations are computed again in the backward pass instead of kept.",
    )
    snapshots: tuple[int, ...] = Field(
        (),
        description=(
            "Steps of each phase after which the model is also kept, as models/<key>/<phase>@<step>: points"
            " of a learning curve. Full weights only."
        ),
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(0, ge=0, description="CPU threads; 0 takes all cores.")
    heartbeat_seconds: int = Field(300, ge=5, description="A trainer silent for longer counts as hung.")

    def of(self, phase: str) -> SFTParams | ExactParams | GRPOParams:
        """The parameters of a phase by the name that its models and curves go by: sft, exact or rl."""
        return {"sft": self.sft, "exact": self.exact, "rl": self.grpo}[phase]


class EvaluateParams(Section):
    """Arms, baselines and statistics on the frozen test split."""

    strategies: tuple[StrategyName, ...] = Field(
        ("iterative", "direct"),
        description=(
            "How calls become rankings, each with its parameters: iterative, direct, window, survivors,"
            " first-token, setwise, consistency, gate; e.g. iterative:drop=half,by=scores."
            " docs/strategies.md."
        ),
    )
    thinking: tuple[bool, ...] = (True, False)
    models: tuple[Literal["untrained", "sft", "rl"], ...] = ("untrained", "sft", "rl")
    max_queries: int = Field(1_000, ge=1, description="Test queries per task at most.")
    extra_model: str = Field(
        "", description="Folder of a pretrained chat model, shown zero-shot as one more row; empty for none."
    )
    extra_queries: int = Field(12, ge=0, description="Test queries per task for that row.")
    bootstrap: int = Field(2_000, ge=100, description="Resamples for the 95% intervals.")
    max_completion_length: int = Field(64, ge=4)
    constrained: bool = Field(
        False,
        description=(
            "Only valid answers can be written: labels of the pool not yet named, and the closing text;"
            " reasoning stays free within max_completion_length. docs/strategies.md."
        ),
    )
    per_device_eval_batch_size: int = Field(256, ge=1, description="Prompts generated at once.")
    cache: int = Field(
        0,
        ge=0,
        description=(
            "MiB of keys and values kept between the calls of one query, so that what prompts begin alike is"
            " read once; 0 keeps none."
        ),
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = 23


class RegisterParams(Section):
    """Model registry and the promotion rule."""

    name: str = Field("r1-ranker", description="Registered model name.")
    tracking_uri: str = Field(
        "", description="MLflow tracking URI; empty takes a SQLite file in the data folder."
    )
    promote: bool = Field(True, description="Let the promotion rule move the alias 'champion'.")
    max_regression: float = Field(
        0.02, ge=0, description="Largest MRR loss against the champion that any single task may show."
    )
    max_malformed: float = Field(0.05, ge=0, le=1, description="Largest share of invalid answers.")
    max_cost_ratio: float = Field(
        2.0, gt=0, description="Largest ratio of tokens per query to the champion's."
    )


class RetrainParams(Section):
    """Retrain a ranking policy: from raw data to a registered model."""

    preset: str = Field(
        "mini",
        description=(
            "Where all values come from that are not given here: mini (from scratch, minutes on a CPU),"
            " smollm2 (a pretrained 135M chat model), tiny (synthetic, for tests), qwen3b-1gpu, qwen3b-4gpu,"
            " qwen3b-2node (the paper's scale); prove-* are those of the studies."
        ),
    )
    home: str = Field("", description="Data folder; empty takes $RANKER_HOME or ./data.")
    lake: str = Field(
        "", description="Lake catalog URI (ducklake:…); empty takes a SQLite catalog in the data folder."
    )
    ingest: IngestParams = Field(default_factory=IngestParams)
    candidates: CandidateParams = Field(default_factory=CandidateParams)
    distill: DistillParams = Field(default_factory=DistillParams)
    train: TrainParams = Field(default_factory=TrainParams)
    evaluate: EvaluateParams = Field(default_factory=EvaluateParams)
    register_: RegisterParams = Field(default_factory=RegisterParams, alias="register")
    force: tuple[Stage, ...] = Field((), description="Stages to repeat although they are done.")

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _over_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        name = given.get("preset", "mini")
        return merged(preset(name), {**given, "preset": name})

    @model_validator(mode="after")
    def _consistent(self) -> RetrainParams:
        heads = self.train.policy
        if heads.model_name_or_path == "scratch" and heads.structured:
            least = 2 * heads.meaning + 3 * heads.codes + (25 if heads.answering else 23)
            if (
                heads.hidden_size < least
                or heads.num_hidden_layers < 4
                or heads.num_attention_heads < 3
                or heads.meaning > min(heads.head_dim, heads.intermediate_size // 2)
            ):
                raise ValueError(
                    "a structured start needs train.policy.hidden_size ≥ 2 × meaning + 3 × codes + 23 (25"
                    f" where it answers) = {least}, at least 4 layers and 3 heads, and meaning ≤ head_dim and"
                    f" intermediate_size / 2; seen hidden_size {heads.hidden_size},"
                    f" {heads.num_hidden_layers} layers, meaning {heads.meaning}, head_dim {heads.head_dim},"
                    f" intermediate_size {heads.intermediate_size}"
                )
        if not self.train.accelerate_config and self.train.grpo.batch(1) % self.train.grpo.num_generations:
            # Of several processes ranker/train/parallel.py knows the number, and says the same.
            raise ValueError(
                "train.grpo.per_device_train_batch_size × gradient_accumulation_steps must be a multiple of"
                f" num_generations; seen {self.train.grpo.batch(1)} and {self.train.grpo.num_generations}"
            )
        if self.train.grpo.save_steps % self.train.grpo.num_iterations:
            raise ValueError(
                "train.grpo.save_steps must be a multiple of num_iterations: a checkpoint keeps no half-used"
                f" completions; seen {self.train.grpo.save_steps} and {self.train.grpo.num_iterations}"
            )
        if min(self.train.weights.values(), default=0) < 0 or not any(
            self.train.weights.get(name, 1) for name in self.ingest.tasks
        ):
            raise ValueError(
                f"train.weights are at least 0, and one task's is above; seen {self.train.weights} for"
                f" {', '.join(self.ingest.tasks)}"
            )
        if self.train.snapshots and self.train.policy.lora_r:
            raise ValueError(f"train.snapshots keeps full weights; seen lora_r {self.train.policy.lora_r}")
        for name in self.ingest.tasks:
            task(name)
        return self

    @property
    def home_path(self) -> Path:
        return data_home(self.home)


def data_home(given: str | Path = "") -> Path:
    """The data folder: as given, else $RANKER_HOME, else ./data (absolute)."""
    return Path(given or os.environ.get("RANKER_HOME", "") or "data").resolve()


def parse_params(given: dict[str, Any]) -> RetrainParams:
    """Validate parameters.

    Raises:
        BadConfig: naming the field, the value seen and what is allowed.
    """
    try:
        return RetrainParams.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "parameters"
        raise BadConfig(
            f"{where}: {first['msg']}",
            seen=repr(first.get("input"))[:200],
            remedy="see `ranker retrain --help` and the files in ranker/presets",
        ) from error


def presets() -> list[str]:
    """Names of the shipped presets."""
    return sorted(_files([shipped("presets")]))


def preset(name: str) -> dict[str, Any]:
    """One preset's values, as nested plain dictionaries."""
    return _toml(_files([shipped("presets")]), name, "preset", "ranker/presets")


TASKS = "RANKER_TASKS"
"""Environment variable: your own folders of task files, separated as in $PATH."""


def task_folders() -> list[Path]:
    """Where tasks are defined: the shipped folder, then those of $RANKER_TASKS; of two tasks with one name
    the later folder's counts.

    Raises:
        BadConfig: a folder that the variable names does not exist.
    """
    own = [
        Path(folder).expanduser().resolve()
        for folder in os.environ.get(TASKS, "").split(os.pathsep)
        if folder
    ]
    for folder in own:
        if not folder.is_dir():
            raise BadConfig(
                f"every folder of ${TASKS} must exist",
                seen=str(folder),
                remedy=f"create it, or mend ${TASKS}",
            )
    return [shipped("tasks"), *own]


def task_names() -> list[str]:
    """Names of all known tasks: the files of `task_folders`. There is no other list of them."""
    return sorted(_files(task_folders()))


def task(name: str) -> Task:
    """One task's definition.

    Raises:
        BadConfig: there is no such task, or its file does not define one of this name.
    """
    files = _files(task_folders())
    given = _toml(files, name, "task", f"ranker/tasks, or to a folder that ${TASKS} names")
    try:
        found = Task(**given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadConfig(
            f"task {name}: {where}: {first['msg']}",
            seen=f"{files[name]}: {first.get('input')!r}"[:300],
            remedy="see docs/tasks.md",
        ) from error
    if found.name != name:
        raise BadConfig(
            "a task's file bears its name",
            seen=f"name = {found.name!r} in {files[name]}",
            remedy=f"rename it to {found.name}.toml",
        )
    return found


def _files(folders: list[Path]) -> dict[str, Path]:
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


def _toml(files: dict[str, Path], name: str, kind: str, where: str) -> dict[str, Any]:
    if name not in files:
        raise BadConfig(
            f"the {kind} must exist",
            seen=repr(name),
            remedy=f"choose one of {', '.join(sorted(files))}, or add {name}.toml to {where}",
        )
    try:
        return tomllib.loads(files[name].read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(
            f"the {kind} {name} must be a TOML file", seen=f"{files[name]}: {error}", remedy="mend the file"
        ) from error


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid upon `base`, section by section; pydantic sections count as what was set in them."""
    result = dict(base)
    for key, value in over.items():
        if isinstance(value, BaseModel):
            value = value.model_dump(exclude_unset=True, by_alias=True)
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result
