"""Parameters of training: the policy and its phases, by the names of TRL and transformers where those have
one.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ranker.config.section import Section
from ranker.config.stages import StrategyName

LossType = Literal["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"]
"""What TRL's GRPOTrainer computes; a test compares it with the installed TRL."""
Tracker = Literal[
    "azure_ml",
    "clearml",
    "codecarbon",
    "comet_ml",
    "dagshub",
    "dvclive",
    "flyte",
    "kubeflow",
    "mlflow",
    "neptune",
    "swanlab",
    "tensorboard",
    "trackio",
    "wandb",
]
"""What transformers' Trainer reports to; a test compares it with the installed one."""


class PolicyParams(Section):
    """The model that is trained."""

    model_name_or_path: str = Field(
        default="scratch",
        description="'scratch', or a folder / hub name of a causal LM with a chat template.",
    )
    init_from: Literal["base", "champion"] = Field(
        default="base",
        description=(
            "What training begins with: the model of model_name_or_path, or the present champion's weights"
            " (where there is no champion yet, that model)."
        ),
    )
    style: Literal["compact", "chat", "likelihood"] = Field(
        default="compact",
        description=(
            "How the policy answers: in compact prompts (from-scratch vocabularies), in chat prompts, or by"
            " likelihood: any causal LM, asked how probable it finds a text (docs/method.md)."
        ),
    )
    num_trainable_layers: int = Field(
        default=0,
        ge=0,
        description=(
            "Likelihood: the last so many layers and the final norm are trained; embeddings and the layers"
            " below stay as they are, in bfloat16. 0 trains all weights."
        ),
    )
    num_hidden_layers: int = Field(default=3, ge=1, description="Scratch only: decoder layers.")
    hidden_size: int = Field(default=128, ge=8, description="Scratch only: width.")
    num_attention_heads: int = Field(default=4, ge=2, description="Scratch only: attention heads.")
    head_dim: int = Field(default=32, ge=8, multiple_of=2, description="Scratch only: width of one head.")
    intermediate_size: int = Field(default=256, ge=8, description="Scratch only: width of the MLPs.")
    vocab_size: int = Field(
        default=6_000,
        ge=50,
        description="Scratch only: at most so many words; labels and grades come on top (those of the data).",
    )
    max_length: int = Field(default=1_024, ge=64, description="Longest prompt plus completion, in tokens.")
    lora_r: int = Field(default=0, ge=0, description="0 trains full weights; otherwise LoRA of this rank.")
    merge_adapters: bool = Field(
        default=False,
        description=(
            "LoRA of a policy that writes: each phase ends with whole weights, the adapters merged in; else"
            " with its adapters alone, beside the weights that they began with (models/<key>/untrained)."
            " Likelihood policies are always merged."
        ),
    )
    load_in_4bit: bool = Field(
        default=False,
        description=(
            "QLoRA: the weights under the adapters in 4 bits (NF4) while training. Needs lora_r, a CUDA GPU"
            " and the package bitsandbytes."
        ),
    )
    seed: int = Field(default=13, description="Initial weights.")

    @property
    def keeps_adapters(self) -> bool:
        """Whether phases end with adapters and not with whole weights."""
        return bool(self.lora_r) and not self.merge_adapters and self.style != "likelihood"

    @model_validator(mode="after")
    def _quantized_below_adapters(self) -> PolicyParams:
        if self.load_in_4bit and (not self.lora_r or self.style == "likelihood"):
            raise ValueError(
                "load_in_4bit trains adapters (lora_r above 0) of a policy that writes;"
                f" seen lora_r {self.lora_r}, style {self.style}"
            )
        return self


class Phase(Section):
    """What all training phases have. Names and meanings are those of transformers' TrainingArguments."""

    max_steps: int
    per_device_train_batch_size: int
    gradient_accumulation_steps: int = Field(
        default=1, ge=1, description="Forward and backward passes that make one step."
    )
    learning_rate: float
    save_steps: int
    seed: int

    def batch(self, processes: int) -> int:
        """Examples (traces, prompts, completions) of one optimizer step over all processes."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps * processes


class SFTParams(Phase):
    """Cold start on the traces."""

    max_steps: int = Field(default=1_200, ge=0, description="Optimizer steps; 0 skips the phase.")
    per_device_train_batch_size: int = Field(
        default=96,
        ge=1,
        description="Traces that a process holds at once. A step has them × passes × processes.",
    )
    learning_rate: float = Field(default=1e-3, gt=0)
    save_steps: int = Field(default=200, ge=1, description="Checkpoint interval, in steps.")
    seed: int = 17


class GRPOParams(Phase):
    """Reinforcement learning on the true relevance."""

    max_steps: int = Field(default=300, ge=0, description="Optimizer steps; 0 skips the phase.")
    per_device_train_batch_size: int = Field(
        default=128,
        ge=1,
        description=(
            "Completions that a process holds at once. A step has them × passes × processes, a multiple of"
            " num_generations."
        ),
    )
    gradient_accumulation_steps: int = Field(
        default=1,
        ge=1,
        description=(
            "Forward and backward passes that make one step; all its completions are generated at once,"
            " before them."
        ),
    )
    num_generations: int = Field(
        default=8, ge=2, description="Completions per prompt: the group whose mean is the baseline."
    )
    learning_rate: float = Field(default=2e-4, gt=0)
    beta: float = Field(default=0.0, ge=0, description="KL coefficient.")
    loss_type: LossType = Field(
        default="dr_grpo",
        description=(
            "The losses of TRL's GRPOTrainer. dr_grpo divides by max_completion_length, whatever the answers'"
            " lengths: right where the limit is close to them; with 1,024 against answers of a hundred tokens"
            " a step is a tenth of dapo's, which divides by the tokens that were written."
        ),
    )
    num_iterations: int = Field(
        default=1, ge=1, description="Steps on the same completions; more than one makes the clipping work."
    )
    epsilon_high: float | None = Field(
        default=None, gt=0, description="Clip range above 1; nothing takes epsilon."
    )
    importance_sampling_level: Literal["token", "sequence"] = Field(
        default="token", description="Importance ratios per token, or per sequence (GSPO; luspo wants it)."
    )
    use_vllm: bool = Field(
        default=False, description="Rollouts by vLLM. Needs a CUDA GPU and the package vllm."
    )
    vllm_mode: Literal["colocate", "server"] = Field(
        default="colocate", description="vLLM in the trainer's own processes, or a running `vllm serve`."
    )
    vllm_gpu_memory_utilization: float = Field(
        default=0.3,
        gt=0,
        lt=1,
        description="Colocated vLLM: its share of a GPU's memory, for weights and KV cache.",
    )
    vllm_server_base_url: str = Field(
        default="http://127.0.0.1:8000", description="Where a running `vllm serve` is."
    )
    objective: Literal["written", "thought", "expected", "gold"] = Field(
        default="written",
        description=(
            "written: GRPO on answers as they are written; thought: GRPO on the reasoning alone, behind which"
            " the labels are scored, its reward the exact expected one of these scores; expected and gold:"
            " nothing is written, the labels' scores behind <answer> are trained by their exact expected"
            " reward, or by a listwise loss on the relevance."
        ),
    )
    length_weight: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="What an answer of max_completion_length tokens loses of its reward, shorter ones less.",
    )
    reward: Literal["ranking", "blind"] = Field(
        default="ranking",
        description=(
            "blind is a control: the same rewards on the shown order instead of the relevance, so that"
            " ranking better earns nothing."
        ),
    )
    exclusion: Literal["binary", "regret"] = Field(
        default="binary",
        description="IRanker reward: chance-corrected hit, or graded by the relevance regret.",
    )
    trace_weight: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description=(
            "Compact policies, whose reasoning is a grade for each candidate: weight of a second reward, how"
            " well the grades order the pool. 0 rewards the action alone."
        ),
    )
    rewards: dict[str, float] = Field(
        default_factory=dict,
        description=(
            "Rewards of your own beside the ranking's: dotted path of a function"
            " (ranker.policy.rewards.Answer → a number, e.g. ranker.policy.rewards.brevity) → its weight."
            " docs/reasoning.md."
        ),
    )
    rank_share: float = Field(
        default=0.25, ge=0, le=1, description="Share of prompts that ask for the whole order (DRanker)."
    )
    nothink_share: float = Field(
        default=0.1, ge=0, le=1, description="Share of prompts that forbid reasoning."
    )
    survivors: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description=(
            "Share of exclusion prompts whose pool is what elimination by the teacher would leave, instead of"
            " a random one."
        ),
    )
    on_policy: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description=(
            "Share of exclusion prompts whose pool is one that the policy itself has reached, an elimination"
            " rolled out from its whole pool; the rest is drawn beforehand."
        ),
    )
    resample: int = Field(
        default=0,
        ge=0,
        le=8,
        description=(
            "How often the prompts of groups whose rewards are all alike are replaced by others before a"
            " step."
        ),
    )
    curriculum: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description=(
            "Share of the steps over which the largest pool allowed grows to the whole; 0 shows every size"
            " from the first step."
        ),
    )
    max_completion_length: int = Field(
        default=32,
        ge=4,
        description=(
            "Tokens; longer answers are cut and count as truncated. One that never ends holds up its whole"
            " batch."
        ),
    )
    pool_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description=(
            "Sizes of the exclusion prompts' pools: one candidate more is so many times as probable; 1 has"
            " all sizes alike. Small pools are cheap, and an exclusion from two says more than one from"
            " eight."
        ),
    )
    prompts: int = Field(default=20_000, ge=1, description="Distinct prompts drawn per task.")
    load_best_model_at_end: bool = Field(
        default=True,
        description=(
            "End with the best checkpoint by validation (train.eval_queries), or where none is better with"
            " the start; false ends with the last."
        ),
    )
    save_steps: int = Field(default=100, ge=1, description="Checkpoint interval, in steps.")
    seed: int = 19

    @model_validator(mode="after")
    def _checkpoints_are_whole(self) -> GRPOParams:
        if self.save_steps % self.num_iterations:
            raise ValueError(
                "save_steps must be a multiple of num_iterations: a checkpoint keeps no half-used"
                f" completions; seen {self.save_steps} and {self.num_iterations}"
            )
        return self

    @model_validator(mode="after")
    def _objective_is_possible(self) -> GRPOParams:
        if self.objective != "written" and (self.on_policy or self.resample):
            raise ValueError(
                f"on_policy and resample are for answers that are written; seen objective {self.objective!r}"
                f" with on_policy {self.on_policy}, resample {self.resample}"
            )
        return self

    @property
    def without_reasoning(self) -> float:
        """Share of prompts that ask for no reasoning: as nothink_share, unless the objective decides."""
        return {"thought": 0.0, "expected": 1.0, "gold": 1.0}.get(self.objective, self.nothink_share)

    @property
    def colocates(self) -> bool:
        """Whether vLLM runs in the trainer's own processes."""
        return self.use_vllm and self.vllm_mode == "colocate"


class LikelihoodParams(Phase):
    """Reinforcement learning of a likelihood policy: eliminations rolled out from one pass of the model, a
    reward for each step of them.
    """

    max_steps: int = Field(default=0, ge=0, description="Optimizer steps; 0 skips the phase.")
    per_device_train_batch_size: int = Field(
        default=8,
        ge=1,
        description="Queries that a process holds at once. A step has them × passes × processes.",
    )
    learning_rate: float = Field(default=5e-5, gt=0)
    num_generations: int = Field(
        default=64,
        ge=2,
        description=(
            "Eliminations rolled out for each query, from the same scores: they cost no further pass."
        ),
    )
    objective: Literal["expected", "sampled", "gold"] = Field(
        default="expected",
        description=(
            "expected: the exact expected reward of each step in the pools that were reached; sampled: policy"
            " gradient of the exclusions drawn, with advantages within query and step (GRPO's baseline); gold"
            " is a control: supervised listwise loss on the labels, nothing rolled out."
        ),
    )
    reward: Literal["ranking", "blind"] = Field(default="ranking", description="As in grpo.")
    exclusion: Literal["binary", "regret"] = Field(default="regret", description="As in grpo.")
    beta: float = Field(
        default=0.0, ge=0, description="Coefficient of the KL divergence from the policy that RL began with."
    )
    load_best_model_at_end: bool = Field(
        default=True,
        description=(
            "End with the best checkpoint by validation, or where none is better with the start; false ends"
            " with the last."
        ),
    )
    save_steps: int = Field(default=40, ge=1, description="Checkpoint interval, in steps.")
    seed: int = 19


class TrainParams(Section):
    """The policy and its training phases (SFT, GRPO), run in a process of their own."""

    policy: PolicyParams = Field(default_factory=PolicyParams)
    sft: SFTParams = Field(default_factory=SFTParams)
    grpo: GRPOParams = Field(default_factory=GRPOParams)
    likelihood: LikelihoodParams = Field(default_factory=LikelihoodParams)
    start: Literal["sft", "untrained"] = Field(
        default="sft", description="Likelihood: the policy that RL begins with."
    )
    eval_queries: int = Field(
        default=100,
        ge=0,
        description=(
            "So many validation queries per task are ranked with the start and with every checkpoint"
            " (save_steps), and the best of these is what a phase ends with; 0 keeps the last."
        ),
    )
    eval_strategy: StrategyName | Literal[""] = Field(
        default="",
        description=(
            "How a policy that writes its answers ranks the validation queries; empty takes iterative for"
            " compact answers and direct, one call a query, for chat. Greedy, within"
            " grpo.max_completion_length."
        ),
    )
    early_stopping_patience: int = Field(
        default=0, ge=0, description="Validations without a better one after which a phase ends; 0 for none."
    )
    report_to: tuple[Tracker, ...] = Field(
        default=(),
        description=(
            "Trackers that the trainer reports to besides, as in transformers (their package and settings are"
            " yours); the lake, MLflow and Prefect have the curves without one."
        ),
    )
    weights: dict[str, float] = Field(
        default_factory=dict,
        description=(
            "Sampling weight per task; absent means 1. 0 trains on nothing of it: its words stay in"
            " the vocabulary."
        ),
    )
    accelerate_config: str = Field(
        default="",
        description=(
            "How many processes, and what they share: a shipped configuration (a name of"
            " ranker/train/accelerate, e.g. cpu-2, gpu-4-fsdp) or a file for `accelerate launch"
            " --config_file`; empty runs one process."
        ),
    )
    main_address: str = Field(
        default="",
        description=(
            "host:port at which the processes of several machines meet; the first machine's address. One"
            " machine needs none."
        ),
    )
    bf16: bool | None = Field(
        default=None,
        description=(
            "Arithmetic in bfloat16 (autocast; on a CPU where that multiplies in it) or float32; weights stay"
            " float32. Nothing takes bfloat16 for a pretrained model on a GPU."
        ),
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Activations are computed again in the backward pass instead of kept.",
    )
    snapshots: tuple[int, ...] = Field(
        default=(),
        description=(
            "Steps of each phase after which the model is also kept, as models/<key>/<phase>@<step>: points"
            " of a learning curve. Full weights only."
        ),
    )
    use_cpu: bool = Field(default=False, description="Train on the CPU although there is a GPU.")
    threads: int = Field(default=0, ge=0, description="CPU threads; 0 takes all cores.")
    heartbeat_seconds: int = Field(
        default=300, ge=5, description="A trainer silent for longer counts as hung."
    )

    @model_validator(mode="after")
    def _consistent(self) -> TrainParams:
        grpo = self.grpo
        if not self.accelerate_config and grpo.batch(1) % grpo.num_generations:
            # Of several processes ranker/train/parallel.py knows the number, and checks the same.
            raise ValueError(
                "grpo.per_device_train_batch_size × gradient_accumulation_steps must be a multiple of"
                f" num_generations; seen {grpo.batch(1)} and {grpo.num_generations}"
            )
        if self.early_stopping_patience and not self.eval_queries:
            raise ValueError("early_stopping_patience needs eval_queries above 0; seen 0")
        if min(self.weights.values(), default=0) < 0:
            raise ValueError(f"weights are at least 0; seen {self.weights}")
        if self.snapshots and self.policy.lora_r:
            raise ValueError(f"snapshots keeps full weights; seen policy.lora_r {self.policy.lora_r}")
        return self

    def of(self, phase: str) -> SFTParams | GRPOParams | LikelihoodParams:
        """The parameters of a phase by the name that its models and curves go by: sft or rl."""
        rl = self.likelihood if self.policy.style == "likelihood" else self.grpo
        return {"sft": self.sft, "rl": rl}[phase]
