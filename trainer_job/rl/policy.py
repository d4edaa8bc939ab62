"""Networks of the learner in the form that Stable-Baselines3 wants: the actor sees the picture, the critic the simulator's
state."""

from typing import Any

from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.sac.policies import MultiInputPolicy
from torch import Tensor, nn

from shared.networks.picture_actor import FEATURES, PictureActor, PictureEncoder

HIDDEN = 128
CRITIC = [128, 128]


class PictureFeatures(BaseFeaturesExtractor):
    """Of the picture alone."""

    def __init__(self, observation_space: spaces.Dict) -> None:
        super().__init__(observation_space, FEATURES)
        self.encoder = PictureEncoder(_first(observation_space["picture"]))

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        features: Tensor = self.encoder(observations["picture"])
        return features


class StateFeatures(BaseFeaturesExtractor):
    """The privileged state as it is."""

    def __init__(self, observation_space: spaces.Dict) -> None:
        super().__init__(observation_space, _first(observation_space["state"]))

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        return observations["state"]


class AsymmetricPolicy(MultiInputPolicy):
    """A critic that looks at no picture makes a gradient step half as dear, and learns the value of a place at once."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        arch = {"pi": [HIDDEN], "qf": CRITIC}
        super().__init__(*arguments, **options, net_arch=arch, features_extractor_class=PictureFeatures)  # type: ignore[misc]

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> ContinuousCritic:
        space = self.observation_space
        assert isinstance(space, spaces.Dict)
        critic = super().make_critic(features_extractor or StateFeatures(space))
        for index, network in enumerate(critic.q_networks):
            assert isinstance(network, nn.Sequential)
            normalized = _with_layer_norm(network)
            critic.q_networks[index] = normalized
            setattr(critic, f"qf{index}", normalized)
        return critic.to(self.device)


def _with_layer_norm(network: nn.Sequential) -> nn.Sequential:
    """The same with a LayerNorm before each activation: values of places that were never seen stay bounded (Ball et al.
    2023)."""
    layers: list[nn.Module] = []
    for place, layer in enumerate(network):
        layers.append(layer)
        if isinstance(layer, nn.Linear) and place + 1 < len(network):
            layers.append(nn.LayerNorm(layer.out_features))
    return nn.Sequential(*layers)


def actor_parts(model: SAC, position: nn.Linear) -> dict[str, nn.Module]:
    """What a PictureActor has of the same names, as the learner updates it; `position`: tells where the object is."""
    actor = model.policy.actor
    features, deviation = actor.features_extractor, actor.log_std
    assert isinstance(features, PictureFeatures)
    assert isinstance(deviation, nn.Linear)
    parts = {"encoder": features.encoder, "latent": actor.latent_pi, "mean": actor.mu, "spread": deviation}
    return {**parts, "position": position}


def actor_of(model: SAC, position: nn.Linear) -> PictureActor:
    """The actor of a learner alone, in evaluation mode."""
    space = model.observation_space
    assert isinstance(space, spaces.Dict)
    alone = PictureActor(_first(space["picture"]), _first(model.action_space), HIDDEN)
    for name, part in actor_parts(model, position).items():
        getattr(alone, name).load_state_dict(part.state_dict())
    return alone.eval()


def _first(space: spaces.Space[Any]) -> int:
    """First size of what is in a space."""
    assert space.shape is not None
    return space.shape[0]
