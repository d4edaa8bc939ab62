"""Object sets: which objects a scene may draw, and what each name stands for."""

from functools import cache
from pathlib import Path

import numpy as np
import pybullet_data

from sim_worker.world.objects.blocks import BLOCKS, block_model
from sim_worker.world.objects.household import CURVED, household_model, household_names
from sim_worker.world.objects.objects import ObjectModel, UrdfModel
from sim_worker.world.objects.procedural import SHAPES, box_model, procedural_model

BROKEN = frozenset({168})
"""Of the random shapes: its mesh is all NaN."""
WAFER_THIN = frozenset({178, 295, 297, 602, 824})
"""Of the random shapes: thinner than 8 mm in one direction, or invisible in a depth image."""
FIRST_TEST_SHAPE = 900
VALIDATION_EVERY = 10
TEST_SEEDS = (1_000_000, 2_000_000)
"""Procedural seeds from the first up to the second belong to the test set; below the first: to learn from."""
LEARNING_SHARES = {"random": 0.65, "procedural": 0.35}
TEST_SHARES = {"random": 0.75, "procedural": 0.25}
CLUTTER_SHARES = {"block": 0.6, "procedural": 0.25, "random": 0.15}
"""Of scenes that pushing is learned in: mostly blocks, which lie flush, and a part of what else there is."""

MODELLED: dict[str, tuple[str, float]] = {
    "duck": ("duck_vhacd.urdf", 0.8),
    "lego": ("lego/lego.urdf", 1.2),
    "teddy": ("teddy_vhacd.urdf", 0.8),
    "cube": ("cube_small.urdf", 0.9),
    "block": ("block.urdf", 1.0),
    "mug": ("objects/mug.urdf", 0.6),
    "jenga": ("jenga/jenga.urdf", 1.0),
    "domino": ("domino/domino.urdf", 1.0),
    "ball": ("sphere_small.urdf", 1.0),
}
"""Household objects of pybullet_data and the scale that lets a jaw of 8 cm hold them."""


def _random_shapes(first: int, last: int) -> list[str]:
    return [f"random/{i:03d}" for i in range(first, last) if i not in BROKEN | WAFER_THIN]


@cache
def _groups(object_set: str) -> dict[str, tuple[list[str], float]]:
    """Per kind of object of the set: the names (empty: procedural, drawn by seed) and its share."""
    learn, test = _random_shapes(0, FIRST_TEST_SHAPE), _random_shapes(FIRST_TEST_SHAPE, 1000)
    if object_set in ("train", "validation"):
        held_out = learn[::VALIDATION_EVERY]
        random = held_out if object_set == "validation" else [name for name in learn if name not in held_out]
        return {"random": (random, LEARNING_SHARES["random"]), "procedural": ([], LEARNING_SHARES["procedural"])}
    if object_set == "clutter":
        names = {"block": list(BLOCKS), "random": _groups("train")["random"][0]}
        return {kind: (names.get(kind, []), share) for kind, share in CLUTTER_SHARES.items()}
    sets: dict[str, dict[str, tuple[list[str], float]]] = {
        "test": {"random": (test, TEST_SHARES["random"]), "procedural": ([], TEST_SHARES["procedural"])},
        "random": {"random": (learn, 1.0)},
        "random-test": {"random": (test, 1.0)},
        "household": {"household": ([*(f"household/{name}" for name in MODELLED), *household_names()], 1.0)},
        "curved": {"household": (household_names(*CURVED), 1.0)},
        "procedural": {"procedural": ([], 1.0)},
        "blocks": {"block": (list(BLOCKS), 1.0)},
    }
    if object_set not in sets:
        raise ValueError(f"unknown object set {object_set!r}; there are {', '.join(OBJECT_SETS)}")
    return sets[object_set]


OBJECT_SETS = (
    "train", "validation", "test", "random", "random-test", "household", "curved", "procedural", "blocks", "clutter", "folder"
)  # fmt: skip


def _procedural_name(object_set: str, random: np.random.Generator) -> str:
    low, high = TEST_SEEDS if object_set == "test" else (0, TEST_SEEDS[0])
    seed = int(random.integers(low, high))
    if object_set in ("train", "clutter", "validation"):
        seed -= seed % VALIDATION_EVERY - (0 if object_set == "validation" else int(random.integers(1, VALIDATION_EVERY)))
    return f"procedural/{list(SHAPES)[int(random.integers(len(SHAPES)))]}-{seed}"


def draw_names(
    object_set: str,
    count: int,
    random: np.random.Generator,
    folder: dict[str, ObjectModel] | None = None,
    primitives: bool = False,
) -> list[str]:
    """`count` object names of the set; repeats are possible. folder: the models of the set `folder`. primitives: only
    objects without meshes, where the set has any."""
    if object_set == "folder":
        if not folder:
            raise ValueError("object set 'folder' needs objects_dir: a folder with URDF, OBJ or STL files")
        names = sorted(folder)
        return [names[int(random.integers(len(names)))] for _ in range(count)]
    groups = _groups(object_set)
    if primitives and "procedural" in groups:
        groups = {"procedural": groups["procedural"]}
    kinds, shares = list(groups), np.array([share for _, share in groups.values()])
    drawn = []
    for _ in range(count):
        names, _ = groups[kinds[int(random.choice(len(kinds), p=shares / shares.sum()))]]
        drawn.append(names[int(random.integers(len(names)))] if names else _procedural_name(object_set, random))
    return drawn


def model_named(name: str, folder: dict[str, ObjectModel] | None = None) -> ObjectModel:
    """The object that a name stands for. Raises ValueError for a name of no object."""
    data = Path(pybullet_data.getDataPath())
    kind, _, rest = name.partition("/")
    if kind == "random" and rest.isdigit() and int(rest) < 1000 and int(rest) not in BROKEN:
        return UrdfModel(name, data / "random_urdfs" / rest / f"{rest}.urdf")
    if kind == "household" and rest in MODELLED:
        file, scale = MODELLED[rest]
        return UrdfModel(name, data / file, scale, rolls=rest == "ball")
    if name in household_names():
        return household_model(name)
    if kind == "procedural":
        return procedural_model(name)
    if kind == "box":
        return box_model(name)
    if kind == "block":
        return block_model(name)
    if folder and name in folder:
        return folder[name]
    raise ValueError(
        f"unknown object {name!r}: expected random/NNN, household/NAME, procedural/SHAPE-SEED, box/XxYxZ (mm), "
        "block/NUMBER or a file of objects_dir"
    )
