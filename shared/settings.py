"""Settings, one class per service: command line over environment over `.env` over `/run/secrets` over the defaults here."""

import os
import socket
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

_SECRETS = [folder for folder in ("/run/secrets", "/run/queue") if os.path.isdir(folder)]
"""Files named as settings: what an orchestrator mounts, and the URL that the containers' queue made for this service."""

SceneKinds = Literal["single", "pile", "packed", "bin", "leaning", "shelf", "enclosed", "scattered", "mixed"]
"""Kinds of simulated scenes; mixed: drawn for every scene."""
ProfileNames = Literal["clean", "standard", "hard", "mixed"]
"""Difficulties of simulated scenes; mixed: standard or hard, drawn for every scene."""
Variations = Literal["nothing", "hands", "cameras", "both", "all"]
"""What simulated scenes draw besides: a hand, with things of its size, unless it is asked for one hand or one's own objects; a
camera; all: also one that stands at the side."""


class ServiceSettings(BaseSettings):
    """What all services share. Every field is also an environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,  # what an orchestrator passes on of a variable that nobody set
        extra="ignore",
        secrets_dir=_SECRETS or None,
        protected_namespaces=(),
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    redis_url: str | None = Field(
        None,
        description="queue of outcomes and scene requests: redis://[user:password@]host:port/db, rediss:// (TLS), "
        "unix:///path, redis+sentinel://[user:password@]host:port,host:port/service/db; none: run without a queue",
    )
    outcome_streams: int = Field(
        1,
        ge=1,
        le=64,
        description="streams that the outcomes are spread over, by worker: the same for all services, and at least one for "
        "each ingest process",
    )
    models_dir: Path = Field(Path("data/models"), description="model registry: <name>/<version>/ and the champion pointer")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe level that is logged")
    log_format: Literal["auto", "json", "text"] = Field("auto", description="auto: text on a terminal, JSON lines elsewhere")


class StoreSettings(ServiceSettings):
    """What those share who read or write the registry."""

    store_url: str | None = Field(
        None,
        description="object store, as s3://bucket/loop or file:///mnt/loop: the trainer keeps registry and shards there, the "
        "server follows its registry; MODELS_DIR and DATA_DIR are then their local copies; none: folders alone",
    )


class ServerSettings(StoreSettings):
    """`python -m inference_server`"""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    api_keys: SecretStr | None = Field(
        None,
        description="comma-separated keys accepted in X-API-Key, `key` or `name:role+role:key` (roles predict, report, worker, "
        "admin); none: open",
    )
    admin_key: SecretStr | None = Field(None, description="key for promote, rollback and reload; none: loopback clients only")
    allow_open: bool = Field(False, description="serve beyond loopback without API keys")
    allowed_hosts: str = Field(
        "", description="comma-separated names by which clients reach the server, beside its own and loopback; *: any"
    )
    queue_size: int = Field(64, ge=1, le=4096, description="most requests waiting; beyond it 429")
    max_batch: int = Field(16, ge=1, le=256, description="most requests planned as one batch")
    deadline_ms: int = Field(10_000, ge=1, description="longest a request may take when it sends no X-Deadline-Ms")
    max_plan_seconds: float = Field(20.0, gt=0, description="most seconds of a core that a plan may be forecast to take; 422")
    max_body_mb: float = Field(64, gt=0, description="largest request body, MiB; beyond it 413")
    connections_per_address: int = Field(
        512,
        ge=1,
        le=4096,
        description="most connections of one address, of 4096 in all; behind a proxy, which is one address, set 4096",
    )
    refusals_per_second: float = Field(
        20.0, gt=0, description="errors of its own that an address is told per second; further ones it is told later"
    )
    max_pixels: int = Field(16_000_000, ge=1, description="most pixels in one image, read from its header; beyond it 413")
    decode_threads: int = Field(
        2, ge=1, le=64, description="threads that decode images of up to 2 megapixels; larger ones have one more"
    )
    torch_threads: int = Field(
        1,
        ge=0,
        le=256,
        description="threads of planning on the CPU, whose steps are too small for more; 0: one per core",
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="precision of the networks; auto: bfloat16 on a GPU that has it, else float32"
    )
    candidate_share: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of requests answered by a model's candidate version, where there is one; "
        "none: as much as the trainer's A/B test asks for",
    )
    reload_seconds: float = Field(2.0, gt=0, description="how often the champion pointers are looked at")
    drain_seconds: float = Field(10.0, ge=0, description="longest wait for accepted requests at shutdown")
    arms: Path | None = Field(
        None,
        description="JSON file of the arms whose grasps must be within reach, by name of an API key, `*`: everybody else's "
        "(needs the extra `reach`); none: what an arm can reach is not looked at",
    )
    graspgen_port: int | None = Field(
        None, ge=1, le=65535, description="port for clients of GraspGen (ZeroMQ, theirs is 5556), who know no keys; none: off"
    )
    graspgen_gripper: str = Field("franka_hand", description="hand of GraspGen's clients, a name from GET /grippers")
    graspgen_base_offset: float = Field(
        0.1124,
        ge=0,
        le=1,
        description="from the gripper's base, where poses are for GraspGen's clients, to its fingertips, m",
    )
    graspgen_up: Literal["camera", "z", "y"] = Field(
        "camera", description="where up is in their clouds: against the z axis of a camera that looks down, or along z or y"
    )


class WorkerSettings(ServiceSettings):
    """`python -m sim_worker`"""

    server_url: str = Field("http://127.0.0.1:8000", description="inference server that plans the grasps")
    api_key: SecretStr | None = Field(None, description="sent as X-API-Key")
    worker_id: str = Field(default_factory=socket.gethostname, description="name of this worker in outcome ids")
    outbox_dir: Path = Field(
        Path("data/spool"),
        validation_alias=AliasChoices("outbox_dir", "spool_dir"),
        description="outcomes wait here, on disk, while the queue is away",
    )
    outbox_limit_mb: float = Field(
        512,
        gt=0,
        validation_alias=AliasChoices("outbox_limit_mb", "spool_limit_mb"),
        description="the worker pauses when its outbox is this large",
    )
    queue_replicas: int = Field(
        0,
        ge=0,
        le=8,
        description="replicas of the queue that must have an outcome before the worker drops its own copy; needed where a "
        "replica may take over (sentinels)",
    )
    outcome_records: Literal["images", "replay"] = Field(
        "images",
        description="what is kept of attempts on a scene as it was built: images, or what renders them again where they are "
        "learned from, which needs the simulator there",
    )
    worlds: int = Field(
        1, ge=1, le=64, description="simulated worlds per process, so that physics goes on while requests are in flight"
    )
    object_set: Literal["train", "validation", "test", "folder"] = Field(
        "train", description="objects of scenes that the worker makes itself"
    )
    scene_kind: SceneKinds = Field("mixed", description="scenes that the worker makes itself")
    profile: ProfileNames = Field("mixed", description="difficulty of scenes that the worker makes itself")
    vary: Variations = Field("both", description="what scenes that the worker makes itself draw besides: hands, cameras")
    planner: str = Field("auto", description="planner that the worker asks for in scenes of its own")
    exploration: float = Field(0.2, ge=0, le=1, description="share of attempts below the best grasp in scenes of its own")
    gripper: str | None = Field(
        None, description="name of a hand, or JSON file with its sizes; none: Franka Panda hand, and hands vary"
    )
    objects_dir: Path | None = Field(None, description="URDF, OBJ or STL files for the object set `folder`")
    rgb: bool = Field(False, description="send the colour image to the planner too, and keep it with the outcome")
    depth: bool = Field(True, description="send the depth image; without: colour and the table's distance alone (needs rgb)")
    cell_error: str = Field(
        "",
        description="six numbers with commas, x, y, z (m) and a rotation vector (rad): how far every camera pose that planners "
        "are told is off in the base frame, as in a cell whose calibration has slipped; none: exact",
    )
    attempts: int = Field(0, ge=0, description="stop after this many attempts; 0: go on")
    seed: int = Field(0, ge=0, description="seed of the scenes that the worker makes itself")


def _renamed(name: str, before: str, default: Any, **constraints: Any) -> Any:
    """A setting that had another name in version 0.1.0, which still counts for one release."""
    return Field(default, validation_alias=AliasChoices(name, before), **constraints)


class TrainerSettings(StoreSettings):
    """`python -m trainer_job`"""

    data_dir: Path = Field(Path("data"), description="outcome shards, training state and logs")
    shipped_models_dir: Path | None = Field(
        None, description="registry whose models start an empty one; none: the repository's models/"
    )
    outcomes_per_round: int = _renamed(
        "outcomes_per_round", "round_outcomes", 500, ge=1, description="new outcomes that start a training round"
    )
    shard_outcomes: int = Field(512, ge=1, le=65536, description="outcomes in hand at which they are written as one shard")
    shard_seconds: float = Field(5.0, gt=0, description="longest an outcome waits to be written")
    keep_gb: float | None = Field(
        None,
        gt=0,
        description="most GB of outcomes and of what is computed of them; beyond it the oldest go, ordinary ones first, then "
        "failures of grasps that were promised to succeed, robots' last; none: all are kept",
    )
    ingest_processes: int = Field(
        1,
        ge=1,
        le=64,
        description="processes that share the outcome streams: the trainer and, with --part 1 and so on, python -m "
        "trainer_job.ingest",
    )
    outstanding_requests: int = _renamed(
        "outstanding_requests",
        "outstanding_tickets",
        32,
        ge=0,
        le=10000,
        description="scene requests kept waiting for workers; 0: issue none",
    )
    epochs: int = Field(4, ge=1, description="passes over the replayed data in a round")
    min_steps: int = _renamed(
        "min_steps",
        "least_steps",
        300,
        ge=1,
        description="fewest gradient steps of a round that starts from random weights; 0.4 of them from trained ones",
    )
    trusted_sources: str = Field(
        "",
        description="comma-separated names of the API keys whose robots' outcomes may decide on versions (`local`: a server "
        "without keys); *: all; none: what robots report is only learned from, within max_source_share",
    )
    max_source_share: float = Field(
        0.3, ge=0, le=1, description="largest share of a round's outcomes from one source of robots that is not trusted"
    )
    replay_outcomes: int = Field(20_000, ge=1, description="most outcomes replayed in a round")
    rounds: int = Field(0, ge=0, description="stop after this many rounds; 0: go on")
    torch_threads: int = Field(0, ge=0, le=256, description="threads of a round on the CPU; 0: one less than there are cores")
    model: str = Field("dense", description="model that the rounds train: of a recipe that names who serves it")
    stages: str = Field(
        "",
        description="models that learn in turn, the others standing still: `dense:3,push-value:5` is three rounds of the one, "
        "five of the other, then one each in turn; none: `model` alone",
    )
    planner: str = Field(
        "auto", description="planner that collecting scenes ask for; auto: the server's choice, or who serves another model"
    )
    object_set: Literal["train", "validation", "test", "procedural", "household", "folder"] = Field(
        "train", description="objects of collecting scenes; folder: those of the workers' objects_dir"
    )
    replay_ratio: float = _renamed(
        "replay_ratio",
        "rehearsal",
        0.3,
        ge=0,
        le=1,
        description="with object_set folder: share of collecting scenes that show ordinary objects, to forget none",
    )
    scene_kind: SceneKinds = Field("mixed", description="scenes to collect in and to compare versions in")
    profile: ProfileNames = Field("mixed", description="difficulty of the same")
    vary: Variations = Field("both", description="what the same draw besides: hands, cameras")
    max_ab_pairs: int = _renamed(
        "max_ab_pairs",
        "judge_pairs",
        400,
        ge=0,
        description="most scenes in which a candidate is tried against the champion before it is promoted; "
        "0: held-out outcomes alone decide",
    )
    exploration: float = Field(0.3, ge=0, le=1, description="share of attempts that do not take the best grasp, to learn from")
    exploration_start: float = Field(
        0.0,
        ge=0,
        le=1,
        description="the same for the first scene, from which it falls to EXPLORATION; 0: is that at once",
    )
    exploration_decay: float = Field(0.998, gt=0, le=1, description="factor by which it falls with every scene")
    seed: int = Field(0, ge=0, description="seed of the training rounds and of the scenes asked for")


class LocalSettings(BaseSettings):
    """`python -m services.local` (`make run`)"""

    model_config = ServiceSettings.model_config

    host: str = Field("127.0.0.1", description="address that the server listens on")
    port: int = Field(8000, ge=0, le=65535, description="port that the server listens on")
    workers: int = Field(
        default_factory=lambda: max(1, (os.cpu_count() or 1) - 1),
        ge=0,
        le=256,
        description="simulation workers to start; default: one less than there are cores",
    )
    data_dir: Path = Field(Path("data"), description="queue, registry, shards, outboxes and logs; continued at the next start")
    redis_url: str | None = Field(None, description="use this queue instead of starting one")
