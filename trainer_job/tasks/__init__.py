"""How networks learn: one module per task, named in a recipe, with the class `TASK`. No list has to be kept."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from trainer_job.tasks.base import TrainingTask
from trainer_job.training.recipe import TrainingRecipe, recipe_of_model

AnyTask = TrainingTask[Any, Any]


def task_of(recipe: TrainingRecipe) -> AnyTask:
    """The task of a recipe. Raises ValueError for an unknown task, or a network that it cannot train."""
    names = sorted({module.name for module in iter_modules(__path__)} - {"base"})
    if recipe.task not in names:
        raise ValueError(f"recipe {recipe.name}: unknown task {recipe.task!r}; expected one of {', '.join(names)}")
    task: AnyTask = import_module(f"{__name__}.{recipe.task}").TASK(recipe)
    return task


def task_of_model(name: str) -> AnyTask:
    """How the trainer's rounds train a model. Raises ValueError with the names of those that they do."""
    return task_of(recipe_of_model(name))
