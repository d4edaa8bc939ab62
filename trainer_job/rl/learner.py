"""Soft actor-critic (Haarnoja et al. 2018) on simulated worlds, in steps that a kill can interrupt anywhere.

The learner is Stable-Baselines3's, with a critic that sees the simulator's state (Pinto et al. 2018), an auxiliary loss that
makes the actor's features tell where the object is, and a shaped reward. It learns while the worlds, in a process of their own,
take the next step.
"""

import io
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.logger import configure
from torch import nn
from torch.nn import functional as F

from shared.durable import replace_file
from shared.networks.picture_actor import FEATURES
from trainer_job.rl.demonstrations import Episode, fill
from trainer_job.rl.episodes import Actor
from trainer_job.rl.policy import AsymmetricPolicy, PictureFeatures, actor_of, actor_parts
from trainer_job.rl.progress import Progress, Recipe
from trainer_job.rl.replay import FileReplay
from trainer_job.rl.worlds import Observations, RemoteWorlds, succeeded

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
PROGRESS_SECONDS = 10.0
MOST_STRAY = 0.8
"""Deviation of what the last world's actions are off those of a policy that learns from a teacher, or of the teacher."""
GUIDED = 4
"""Of so many worlds one is steered by the teacher itself."""


Evaluate = Callable[[Actor, int], tuple[int, int]]
"""Of an actor after so many steps: (episodes, successes)."""


class Learner:
    """A run in `folder`, which goes on where a checkpoint of the same recipe and environment stands there.

    demonstrations: what is learned from before anything else; random steps are then not needed.
    """

    def __init__(self, worlds: RemoteWorlds, recipe: Recipe, folder: Path, demonstrations: Sequence[Episode] = ()) -> None:
        self.worlds, self.recipe, self.folder, self.demonstrations = worlds, recipe, folder, demonstrations
        folder.mkdir(parents=True, exist_ok=True)
        replay = {
            "folder": folder / "replay",
            "spare": -(-recipe.save_every // recipe.worlds),
            "gamma": recipe.gamma,
            "shaping": recipe.shaping,
            "potential": worlds.interface["potential"],
            "seed": recipe.seed,
        }
        self.model = SAC(
            AsymmetricPolicy,
            worlds,
            learning_rate=recipe.learning_rate,
            buffer_size=recipe.buffer,
            batch_size=recipe.batch,
            tau=recipe.tau,
            gamma=recipe.gamma,
            ent_coef=f"auto_{recipe.entropy}",
            policy_kwargs={"optimizer_kwargs": {"fused": True}},
            replay_buffer_class=FileReplay,  # type: ignore[arg-type]
            replay_buffer_kwargs=replay,
            seed=recipe.seed,
            device="cpu",
        )
        self.model.set_logger(configure(str(folder), ["tensorboard"]))
        self.replay = cast(FileReplay, self.model.replay_buffer)
        self.position = nn.Linear(FEATURES, 3)
        actor = self.model.policy.actor
        taught = [*actor.latent_pi.parameters(), *actor.mu.parameters()] if recipe.teacher else []
        self.auxiliary = torch.optim.Adam(
            [*self._features().parameters(), *self.position.parameters(), *taught], recipe.learning_rate, fused=True
        )
        self.averaged = self.newest()
        """Exponential average of the actor's weights over updates: the actor itself swings from update to update, and with it
        success on the whole area, between all and nothing."""
        self.random = np.random.default_rng(recipe.seed)
        self.progress = Progress()

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must be of; how long and how fast it learns, and how often it is looked at, may change."""
        changeable = ("steps", "learning_rate", "batch", "updates", "evaluate_every", "evaluate_episodes")
        recipe = {name: value for name, value in asdict(self.recipe).items() if name not in changeable}
        shown = {"demonstrations": sum(len(each.actions) for each in self.demonstrations)} if self.demonstrations else {}
        return {"recipe": recipe, "interface": self.worlds.interface, **shown}

    def newest(self) -> Actor:
        """The actor as the last update left it."""
        return actor_of(self.model, self.position)

    def best(self) -> Actor:
        """The policy that is kept; before the first evaluation the averaged one of now."""
        actor = self.newest()
        actor.load_state_dict(self.progress.best or self.averaged.state_dict())
        return actor

    def learn(self, evaluate: Evaluate) -> None:
        """Goes on to the recipe's number of steps; evaluates and saves on the way."""
        observations, progress, logged = self._begin(), self.progress, time.monotonic()
        while progress.steps < self.recipe.steps:
            started = time.monotonic()
            observations = self._round(observations)
            progress.seconds += time.monotonic() - started
            if self._due(self.recipe.evaluate_every):
                progress.note((progress.steps, *evaluate(self.averaged, progress.steps)), self.averaged)
                self._log()
            if self._due(self.recipe.save_every) or progress.steps >= self.recipe.steps:
                self.save()
            if time.monotonic() - logged > PROGRESS_SECONDS:
                logged = time.monotonic()
                log.info("learning", extra=self.figures())

    def figures(self) -> dict[str, float]:
        """How it stands, for logs."""
        progress = self.progress
        figures = {"step": progress.steps, "steps_per_second": round(progress.steps / max(progress.seconds, 1e-9), 1)}
        figures |= {"level": self.worlds.level, "success": round(float(np.mean(progress.recent or [False])), 3)}
        if progress.evaluations:
            _, episodes, found = progress.evaluations[-1]
            figures["evaluated"] = round(found / episodes, 4)
        return figures

    def _due(self, every: int) -> bool:
        """Whether the last round passed a multiple of `every` steps."""
        return self.progress.steps // every > (self.progress.steps - self.recipe.worlds) // every

    def _begin(self) -> Observations:
        path = self.folder / CHECKPOINT
        saved = torch.load(path, weights_only=True) if path.is_file() else {}
        if json.loads(saved.get("identity", "null")) == json.loads(json.dumps(self.identity)):
            return self._load(saved)
        self.worlds.seed(self.recipe.seed)
        observations = self.worlds.reset()
        if self.demonstrations:
            log.info("starts from demonstrations", extra={"rounds": fill(self.replay, self.demonstrations, observations)})
        else:
            self.replay.begin(observations)
        return observations

    def _round(self, observations: Observations) -> Observations:
        """One step of every world; what they take the time for is learned meanwhile."""
        if self.recipe.teacher:
            actions = self._strayed(observations)
        elif self.progress.steps < self.recipe.random_steps:
            actions = self.random.uniform(-1, 1, (self.recipe.worlds, *(self.worlds.action_space.shape or ()))).astype(
                np.float32
            )
        else:
            actions, _ = self.model.predict(observations, deterministic=False)
        self.worlds.step_async(actions)
        if self.progress.steps >= self.recipe.random_steps:
            self._update()
        following, rewards, ended, infos = self.worlds.step_wait()
        self.replay.add(actions, rewards, ended, following)  # type: ignore[arg-type]
        self.progress.recent.extend(succeeded(infos))
        self.progress.steps += self.recipe.worlds
        return following  # type: ignore[return-value]

    def _strayed(self, observations: Observations) -> np.ndarray:
        """Actions where a teacher is to be learned from: its own at first, then in one of GUIDED worlds, else the policy's."""
        actions = self._advised(observations).copy()
        if self.progress.steps >= self.recipe.random_steps:
            own = self._own(observations)
            # A policy that knows little seldom gets to an episode's end by itself.
            alone = np.arange(self.recipe.worlds) % GUIDED != GUIDED - 1
            actions[alone] = own[alone]
        # Worlds that stray more and more show what to do where who is nearly right does not get.
        strays = np.linspace(0, MOST_STRAY, self.recipe.worlds)[:, None]
        return np.clip(actions + strays * self.random.normal(size=actions.shape), -1, 1).astype(np.float32)

    def _advised(self, observations: Observations) -> np.ndarray:
        """The teacher's actions."""
        return observations["advice"]

    def _own(self, observations: Observations) -> np.ndarray:
        """The policy's likeliest actions."""
        own, _ = self.model.predict(observations, deterministic=True)
        return own

    def _update(self) -> None:
        for _ in range(self.recipe.updates if self.recipe.teacher else 1):
            self._learn_pictures()
        if not self.recipe.teacher:
            self.model.train(self.recipe.updates, self.recipe.batch)
        with torch.no_grad():
            for name, part in actor_parts(self.model, self.position).items():
                for average, newest in zip(getattr(self.averaged, name).parameters(), part.parameters(), strict=True):
                    average.lerp_(newest, 1 - self.recipe.averaging)

    def _learn_pictures(self) -> None:
        """One step towards telling where the object is and, with a teacher, what to do."""
        batch, actor = self.replay.sample(self.recipe.batch).observations, self.model.policy.actor
        # As the actor sees them: 0 to 1.
        features = self._features().encoder(batch["picture"].float() / 255)
        loss = F.mse_loss(self.position(features), batch["state"][:, :3])
        if self.recipe.teacher:
            loss = loss + F.mse_loss(torch.tanh(actor.mu(actor.latent_pi(features))), batch["advice"])
        self.auxiliary.zero_grad()
        loss.backward()
        self.auxiliary.step()

    def _features(self) -> PictureFeatures:
        features = self.model.policy.actor.features_extractor
        assert isinstance(features, PictureFeatures)
        return features

    def _log(self) -> None:
        for name, value in self.figures().items():
            self.model.logger.record(f"rollout/{name}", value)
        self.model.logger.dump(self.progress.steps)
        log.info("evaluated", extra=self.figures())

    # -- to go on after an interruption

    def _parts(self) -> dict[str, Any]:
        policy, model = self.model.policy, self.model
        return {
            "policy": policy,
            "actor optimizer": policy.actor.optimizer,
            "critic optimizer": policy.critic.optimizer,
            "entropy optimizer": model.ent_coef_optimizer,
            "position": self.position,
            "averaged": self.averaged,
            "auxiliary": self.auxiliary,
        }

    def save(self) -> None:
        """Everything from which the run goes on as if it had not been interrupted, in place of the checkpoint before."""
        progress, model = self.progress, self.model
        assert model.log_ent_coef is not None
        plain = {
            "replay": self.replay.state(),
            "worlds": self.worlds.snapshot(),
            "random": self.random.bit_generator.state,
            "updates": model._n_updates,
            "steps": progress.steps,
            "seconds": progress.seconds,
            "recent": list(progress.recent),
            "evaluations": progress.evaluations,
            "kept": progress.kept,
        }
        saved = {name: part.state_dict() for name, part in self._parts().items()}
        saved |= {"log alpha": model.log_ent_coef.detach(), "torch": torch.get_rng_state(), "best": progress.best}
        # As text: what unpickles without code of its own knows no integers of 128 bits.
        saved |= {"plain": json.dumps(plain), "identity": json.dumps(self.identity)}
        data = io.BytesIO()
        torch.save(saved, data)
        replace_file(self.folder / CHECKPOINT, data.getvalue())

    def _load(self, saved: dict[str, Any]) -> Observations:
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])
        for group in self.auxiliary.param_groups:  # those of the others Stable-Baselines3 sets in every update
            group["lr"] = self.recipe.learning_rate
        model, plain, progress = self.model, json.loads(saved["plain"]), self.progress
        assert model.log_ent_coef is not None
        with torch.no_grad():
            model.log_ent_coef.copy_(saved["log alpha"])
        torch.set_rng_state(saved["torch"])
        model._n_updates = plain["updates"]
        self.random.bit_generator.state = plain["random"]
        self.replay.load(plain["replay"])
        progress.steps, progress.seconds, progress.kept = plain["steps"], plain["seconds"], plain["kept"]
        progress.recent.extend(plain["recent"])
        progress.evaluations = [(step, episodes, found) for step, episodes, found in plain["evaluations"]]
        progress.best = saved["best"]
        log.info("goes on", extra={"after_step": progress.steps})
        return self.worlds.restore(plain["worlds"])
