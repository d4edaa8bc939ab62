"""Simulated attempts without their images: what renders them again, bit for bit, and the rendering."""

from collections.abc import Collection
from importlib.metadata import version

import numpy as np

from grasp_client.contract import Meta, Outcome, ViewReplay
from grasp_client.contract.outcomes import LONGEST_SCENE
from shared.outcome_codec import image_bytes, stored_depth
from shared.shards import digest
from sim_worker.world import SceneSpec, World

SIMULATOR = f"grasploop {version('grasploop')}, pybullet {version('pybullet')}"


def without_images(outcome: Outcome[Meta], spec: SceneSpec) -> Outcome[Meta]:
    """An attempt on the first view of a scene, with the scene in place of depth and colour.

    As it is where the scene is made of files, which may be others, or not there, where it is rendered again; and where it takes
    more words than may be sent.
    """
    scene = spec.model_dump_json(exclude_defaults=True)
    if spec.objects_dir or spec.case or not outcome.images.keys() <= {"depth", "rgb"} or len(scene) > LONGEST_SCENE:
        return outcome
    checksums = {name: digest(image_bytes(image)) for name, image in outcome.images.items()}
    replay = ViewReplay(simulator=SIMULATOR, scene=scene, checksums=checksums)
    return outcome.model_copy(update={"meta": outcome.meta.model_copy(update={"replay": replay}), "images": {}})


class Views:
    """Renders first views of scenes again, for a learner's process that has no simulator."""

    def __init__(self, num_envs: int = 1) -> None:
        self.world = World()

    def render(self, scene: str, names: Collection[str]) -> dict[str, np.ndarray]:
        """The images of these names, `depth` or `rgb`, as they are stored.

        Raises ValueError for a scene that is none or is made of files, and SceneError for one that does not come to rest.
        """
        spec = SceneSpec.model_validate_json(scene)
        if spec.objects_dir or spec.case:
            raise ValueError(f"a scene that is rendered again is made of no files, got {scene}")
        view = self.world.build(spec).observe()
        depth = view.observation.depth
        images = {"depth": stored_depth(depth)[0]} if "depth" in names and depth is not None else {}
        return images | ({"rgb": view.rgb} if "rgb" in names else {})

    def close(self) -> None:
        self.world.close()
