"""Parameters of the stages besides training, and their names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from ranker.config.files import TrackingUri
from ranker.config.section import Section
from ranker.config.tasks import task

Stage = Literal["ingest", "candidates", "distill", "train", "evaluate", "register"]
STAGES: tuple[Stage, ...] = ("ingest", "candidates", "distill", "train", "evaluate", "register")
StrategyName = Annotated[
    str, StringConstraints(pattern=r"^[a-z-]+(:[a-z]+=[a-z0-9.]+(,[a-z]+=[a-z0-9.]+)*)?$")
]
"""`iterative`, or with parameters `window:size=10,step=5`.

ranker/strategies says which there are; flows ask it before they begin.
"""


def moment(text: str) -> datetime:
    """An ISO date, perhaps with time and zone, in UTC (which it is in where it says no zone).

    Raises:
        ValueError: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(
            f"a time is an ISO date, such as 2026-01-01 or 2026-01-01T06:00+02:00; seen {text!r}"
        ) from error
    return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)


class IngestParams(Section):
    """Which tasks are read, and from where."""

    tasks: tuple[str, ...] = Field(
        default=("rec-movie", "passage-pydoc"),
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
    refresh_hours: float | None = Field(
        default=12.0,
        ge=0,
        description=(
            "Hours after which the source of a download is asked whether it has changed, and fetched anew"
            " where it has (less than a day, so that every night asks); null never asks. An address with a"
            " checksum or a commit means one state."
        ),
    )
    on_unreachable: Literal["keep", "fail"] = Field(
        default="keep",
        description="Where a source cannot be asked: keep reads what is here and tells so, fail fails.",
    )

    @model_validator(mode="after")
    def _tasks_exist(self) -> IngestParams:
        for name in self.tasks:
            task(name)
        return self


class CandidateParams(Section):
    """How queries and their candidate pools are drawn."""

    pool_size: dict[str, int] = Field(
        default_factory=dict, description="Candidates per query, by task; empty takes each task's own."
    )
    history: int = Field(
        default=12, ge=1, description="Recommendation: the latest so many items before the target are shown."
    )
    negatives: Literal["popularity", "uniform"] = Field(
        default="popularity",
        description="Recommendation: how negatives are drawn. Uniform makes popularity a near-oracle.",
    )
    bm25_share: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="Passages: share of the negatives taken from BM25's best, the rest at random.",
    )
    split: Literal["hash", "time"] = Field(
        default="hash",
        description=(
            "What decides whether a query is trained on: a hash of its user (or query group), or the time of"
            " its target (tasks whose source times every interaction; the others stay with the hash)."
            " docs/operations.md."
        ),
    )
    train_before: str = Field(
        default="",
        description=(
            "By time: ISO date (2026-01-01, or with time and zone; UTC where none is said) before which what"
            " happened is trained on. Validation is from then to test_from. Empty takes the shares, of each"
            " task's interactions by time."
        ),
    )
    test_from: str = Field(
        default="", description="By time: ISO date from which on targets are test queries."
    )
    test_before: str = Field(
        default="",
        description="By time: ISO date from which on nothing is read; empty reads all there is.",
    )
    test_share: float = Field(
        default=0.25,
        gt=0,
        lt=1,
        description=(
            "Share of users (or of query groups) held out before anything is derived; by time of the latest"
            " interactions."
        ),
    )
    valid_share: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description=(
            "Share of the remaining users (or groups, or latest interactions) on which choices are made:"
            " never trained on, never reported."
        ),
    )
    audit_share: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description=(
            "Share of users (or of query groups) that are sealed: no stage draws a query of them, only"
            " `ranker audit sealed` does. 0 seals none."
        ),
    )
    gates: int = Field(
        default=1,
        ge=1,
        description=(
            "Parts of the test side, by user or query group. One tests at a time, the others are kept back; a"
            " retraining goes on to the next once `register.looks` verdicts have used one."
        ),
    )
    gate: int = Field(default=1, ge=1, description="Which of the gates tests at the least, from 1.")
    test_per_user: int = Field(
        default=4,
        ge=1,
        description=(
            "Recommendation: latest so many targets of a held-out user become test (or validation) queries."
        ),
    )
    train_per_user: int = Field(
        default=40, ge=1, description="Recommendation: at most so many targets of a training user."
    )
    max_train: int = Field(default=40_000, ge=1, description="At most so many training queries per task.")
    max_test: int = Field(default=1_000, ge=1, description="At most so many test queries per task.")
    max_valid: int = Field(default=400, ge=1, description="At most so many validation queries per task.")
    seed: int = Field(default=7, description="Every draw derives from it.")

    @model_validator(mode="after")
    def _sides_exist(self) -> CandidateParams:
        held_out = self.test_share + self.valid_share * (1 - self.test_share) + self.audit_share
        if held_out >= 1:
            raise ValueError(
                "test, validation and sealed queries must leave some to train on; seen test_share"
                f" {self.test_share}, valid_share {self.valid_share}, audit_share {self.audit_share}"
            )
        if self.gate > self.gates:
            raise ValueError(f"there must be such a gate; seen gate {self.gate} of {self.gates}")
        if self.split == "time" and (self.audit_share or self.gates > 1):
            raise ValueError(
                'sealed queries and gates are drawn by users and groups, not by time; seen split "time" with'
                f" audit_share {self.audit_share}, gates {self.gates}"
            )
        return self

    @field_validator("train_before", "test_from", "test_before")
    @classmethod
    def _is_a_time(cls, given: str) -> str:
        """As one text in UTC, so that one moment has one key however it was written."""
        return moment(given).isoformat() if given else given

    @model_validator(mode="after")
    def _times_follow_each_other(self) -> CandidateParams:
        given = [time for time in (self.train_before, self.test_from, self.test_before) if time]
        if given and self.split != "time":
            raise ValueError(f'times of the split need split "time"; seen {self.split!r} and {given[0]}')
        if bool(self.train_before) != bool(self.test_from):
            raise ValueError(
                "train_before and test_from are given together, or neither (then the shares count); seen"
                f" {self.train_before!r} and {self.test_from!r}"
            )
        moments = [datetime.fromisoformat(time) for time in given]
        if moments != sorted(moments) or (self.test_before and self.test_before == self.test_from):
            raise ValueError(
                f"train_before ≤ test_from < test_before; seen {', '.join(given)}: nothing would be left"
            )
        return self


class DistillParams(Section):
    """Who teaches, what a trace looks like, and which traces are kept. docs/distillation.md tells more."""

    teacher: str = Field(
        default="classical",
        description=(
            "'classical' (each scenario's own ranker, labelled as such), one ranker by name (item-knn,"
            " popularity, bm25, idf-overlap, dense, overlap, knn-effect, best-llm), or a model: folder / hub"
            " name, vllm:<model>, openai:<base url>#<model> (key in $OPENAI_API_KEY)."
        ),
    )
    teachers: dict[str, str] = Field(
        default_factory=dict, description="Another teacher for single tasks: task name → as `teacher`."
    )
    dense_model: str = Field(
        default="models/all-minilm-l6-v2",
        description=(
            "Folder of the encoder that the teacher `dense` scores passages with, below the data folder."
        ),
    )
    traces: int = Field(
        default=40_000,
        ge=0,
        description="Traces asked for per task; 0 where nothing is learned from them (no SFT).",
    )
    rank_share: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="Share of traces that name the whole order (DRanker) instead of one exclusion (IRanker).",
    )
    nothink_share: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="Share of traces without reasoning, so that the no-think arm is a fair one.",
    )
    shape: Literal["dense", "sparse"] = Field(
        default="dense",
        description=(
            "Classical teachers' reasoning: a grade for every candidate, or the grade of the one candidate"
            " that decides."
        ),
    )
    grades: int = Field(
        default=5, ge=2, le=10, description="Number of grades a trace uses: 0 (worst) to grades − 1."
    )
    reject: bool = Field(
        default=True, description="Reject traces whose action is wrong; they are stored with the reason."
    )
    majority: bool = Field(
        default=False,
        description=(
            "Models: reject samples that disagree with the majority of their prompt's samples. With reject ="
            " false the majority alone decides."
        ),
    )
    samples: int = Field(default=1, ge=1, le=64, description="Models: answers sampled per prompt.")
    temperature: float = Field(
        default=0.0, ge=0, description="Models: 0 is greedy; several samples need more."
    )
    reward_above: float | None = Field(
        default=None,
        description=(
            "Models: answers that earn no more than this by the reward of GRPO (chance is 0) are rejected,"
            " and of those that stay the best are kept; nothing leaves it to `reject` and keeps the first."
        ),
    )
    keep: int = Field(default=1, ge=1, description="Models: at most so many accepted answers per prompt.")
    max_completion_length: int = Field(
        default=512, ge=4, description="Models: tokens; longer answers are cut and rejected."
    )
    max_calls: int = Field(
        default=0,
        ge=0,
        description="Models: the stage ends with what it has after so many answers; 0 for no limit.",
    )
    max_tokens: int = Field(
        default=0, ge=0, description="Models: as max_calls, in prompt plus completion tokens."
    )
    price_in: float = Field(
        default=0.0, ge=0, description="Models: price of a million prompt tokens, in any currency."
    )
    price_out: float = Field(default=0.0, ge=0, description="Models: price of a million completion tokens.")
    concurrency: int = Field(default=8, ge=1, description="Endpoints: requests in flight.")
    seed: int = Field(default=11, description="Every draw derives from it.")

    @property
    def encoder(self) -> str:
        """The encoder's folder where `dense` teaches any task, else empty."""
        return self.dense_model if "dense" in {self.teacher, *self.teachers.values()} else ""

    @model_validator(mode="after")
    def _samples_differ(self) -> DistillParams:
        if self.samples > 1 and not self.temperature:
            raise ValueError(
                "several samples of one prompt need a temperature above 0, or all are the same; seen samples"
                f" {self.samples}, temperature 0"
            )
        return self


class FanOutParams(Section):
    """Who does the shards of distillation by a model, and of evaluation. No stage's result depends on it."""

    engine: Literal["local", "ray"] = Field(
        default="local", description="local: one after another, here; ray: the workers of a Ray cluster."
    )
    address: str = Field(
        default="",
        description="Of the Ray cluster, e.g. 10.0.0.1:6379, whose machines see the same data folder; empty"
        " starts one on this machine for the time of a stage.",
    )
    num_cpus: float = Field(default=1.0, gt=0, description="Cores of a worker.")
    num_gpus: float = Field(default=0.0, ge=0, description="GPUs of a worker; 0.5 shares one between two.")


class EvaluateParams(Section):
    """Arms, baselines and statistics on the frozen test split."""

    strategies: tuple[StrategyName, ...] = Field(
        default=("iterative", "direct"),
        description=(
            "How calls become rankings, each with its parameters: iterative, direct, window, survivors,"
            " first-token, think-then-score, setwise, consistency, gate; e.g. iterative:drop=half,by=scores."
            " docs/strategies.md."
        ),
    )
    thinking: tuple[bool, ...] = (True, False)
    models: tuple[Literal["untrained", "sft", "rl"], ...] = ("untrained", "sft", "rl")
    max_queries: int = Field(default=1_000, ge=1, description="Test queries per task at most.")
    extra_model: str = Field(
        default="",
        description=(
            "Folder of a pretrained chat model that is asked to write orders, as two more rows on a few"
            " queries: with two worked examples in its prompts, its answers read tolerantly (`pretrained`),"
            " and so that only valid ones can be written (`pretrained-constrained`). Empty for none."
        ),
    )
    dense_model: str = Field(
        default="",
        description=(
            "Passages: folder of a sentence encoder (below the data folder), whose cosine is the baseline row"
            " `dense`; empty for none."
        ),
    )
    dense_tuned: str = Field(
        default="",
        description=(
            "Passages: folder in which `python -m benchmarks.dense_tuned` keeps encoders fine-tuned on the"
            " training queries, one for each candidate set: the row `dense-tuned`; empty for none."
        ),
    )
    mf_factors: int = Field(
        default=0,
        ge=0,
        description=(
            "Recommendation: latent factors of a matrix factorisation (ALS) of the training users, the"
            " baseline row `mf`; 0 for none."
        ),
    )
    fusion_queries: int = Field(
        default=0,
        ge=0,
        description=(
            "Validation queries per task on which a likelihood policy and the first stages are weighed for"
            " the row `fusion`; 0 leaves it out."
        ),
    )
    traffic_requests: int = Field(
        default=0,
        ge=0,
        description=(
            "Logged requests per task (of `ranker serve --log --explore`; the latest, of days that passed)"
            " that each model ranks too, in the first of its ways: the clicks that it would have got, by"
            " SNIPS and DR, stand beside its metrics. 0 asks for none. docs/feedback.md."
        ),
    )
    bootstrap: int = Field(default=2_000, ge=100, description="Resamples for the 95% intervals.")
    parsing: Literal["strict", "tolerant"] = Field(
        default="strict",
        description=(
            "How written answers of a model that was not trained here (the arm `untrained`) are read: strict,"
            " as in training, or tolerant, as rank_llm does: labels in whatever form, those missing in"
            " first-stage order, each repair counted (steps.repairs). Trained policies are read strictly."
        ),
    )
    max_completion_length: int = Field(default=64, ge=4)
    constrained: bool = Field(
        default=False,
        description=(
            "Only valid answers can be written: labels of the pool not yet named, and the closing text;"
            " reasoning stays free within max_completion_length. docs/strategies.md."
        ),
    )
    per_device_eval_batch_size: int = Field(default=256, ge=1, description="Prompts generated at once.")
    cache: int = Field(
        default=0,
        ge=0,
        description=(
            "MiB kept of keys and values between the calls of one query, so that what prompts begin alike is"
            " read once; of a likelihood policy, of scores from run to run. 0 keeps none."
        ),
    )
    engine: Literal["transformers", "vllm", "openai"] = Field(
        default="transformers",
        description=(
            "What runs the models: transformers, vLLM in this process (all queries in one continuous batch),"
            " or servers that speak OpenAI's protocol (`endpoint`), as `vllm serve` with as many GPUs and"
            " copies of a model as it is started with. docs/scale.md."
        ),
    )
    endpoint: str = Field(
        default="",
        description=(
            "engine = openai: base URL of the server, which names each model by training and phase: KEY/rl,"
            " KEY/sft, KEY/untrained."
        ),
    )
    tensor_parallel_size: int = Field(
        default=1, ge=1, description="engine = vllm: GPUs over which each layer is cut."
    )
    queries_per_batch: int = Field(
        default=512,
        ge=1,
        description=(
            "Queries whose rankings are written down together: what memory holds at once, and what a killed"
            " evaluation loses at most."
        ),
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = 23

    @model_validator(mode="after")
    def _endpoint_is_named(self) -> EvaluateParams:
        if (self.engine == "openai") != bool(self.endpoint):
            raise ValueError(
                "engine = openai and an endpoint belong together; seen engine"
                f" {self.engine}, endpoint {self.endpoint!r}"
            )
        return self


class RegisterParams(Section):
    """Model registry and the promotion rule."""

    name: str = Field(default="r1-ranker", description="Registered model name.")
    tracking_uri: TrackingUri = Field(
        default="",
        validate_default=True,
        description=(
            "MLflow tracking URI, of a server (https://…) or a database (sqlite:///…); empty takes"
            " $RANKER_TRACKING_URI, else a SQLite file in the data folder."
        ),
    )
    promote: bool = Field(default=True, description="Let the promotion rule move the alias 'champion'.")
    alpha: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Chance that a champion is replaced by a model that is no better, over all `looks`.",
    )
    looks: int = Field(
        default=20,
        ge=1,
        description=(
            "Verdicts that may use one test query, on average; each tests at alpha / looks. Then fresh"
            " queries are due (candidates.gates has some kept back)."
        ),
    )
    min_gain: float = Field(
        default=0.01,
        ge=0,
        description=(
            "Smallest MRR gain over the champion that is worth a promotion; more where `ranker study seeds`"
            " has measured that another seed may bring more."
        ),
    )
    max_regression: float = Field(
        default=0.02,
        ge=0,
        description=(
            "MRR loss against the champion that the 95% interval has to exclude on every single task."
        ),
    )
    floor: str = Field(
        default="random",
        description="Row of the evaluation that a first champion has to beat on every task, e.g. bm25.",
    )
    max_malformed: float = Field(default=0.05, ge=0, le=1, description="Largest share of invalid answers.")
    max_cost_ratio: float = Field(
        default=2.0, gt=0, description="Largest ratio of tokens and of calls per query to the champion's."
    )

    max_traffic_loss: float | None = Field(
        default=None,
        ge=0,
        description=(
            "Loss of clicks a request against what was served that `ranker audit traffic` of the policy, or"
            " its evaluation (`evaluate.traffic_requests`), has to exclude on every task with an estimate,"
            " and on one at least (doubly robust, 95% interval). null asks for no estimate."
        ),
    )
    audit_readings: int = Field(
        default=4,
        ge=1,
        description=(
            "Readings of the sealed queries (candidates.audit_share) in a year; `ranker audit sealed` refuses"
            " more."
        ),
    )

    @field_validator("tracking_uri")
    @classmethod
    def _is_no_folder(cls, value: str) -> str:
        # MLflow refuses a folder since version 3.7: known here, and not after a training
        if value and not value.startswith("databricks") and ("://" not in value or value.startswith("file:")):
            raise ValueError(
                "an MLflow registry is a server (https://…) or a database (sqlite:///…, postgresql://…), not"
                " a folder"
            )
        return value


class RetentionParams(Section):
    """What a data folder keeps (`ranker gc`)."""

    versions: int = Field(
        default=3,
        ge=1,
        description="Newest versions of each name whose models stay, beside champions and challenger.",
    )
    days: float = Field(
        default=90.0,
        ge=0,
        description="Age at which rollouts, rows of old batches, unregistered models and snapshots go.",
    )
    served_days: float | None = Field(
        default=None,
        ge=0,
        description="Age at which served requests, their episodes and feedback go; null keeps them.",
    )
    grace_hours: float = Field(default=24.0, ge=0, description="What is younger stays: a run may be at it.")
