"""A folder of numbered parts is of one recipe, which lies beside them."""

import json
from pathlib import Path

from pydantic import BaseModel

from shared.durable import replace_file


def lock_recipe(path: Path, recipe: BaseModel, begun: bool) -> None:
    """Writes the recipe to `path`, or, where parts are there (`begun`), compares it with the one they were made by.

    Raises ValueError that names what differs.
    """
    mine = json.loads(recipe.model_dump_json())
    if not path.exists() or not begun:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(mine, indent=1).encode())
        return
    kept = json.loads(type(recipe).model_validate_json(path.read_bytes()).model_dump_json())
    different = sorted(name for name in mine if kept.get(name) != mine[name])
    if different:
        listed = "; ".join(f"{name}: {kept.get(name)} there, {mine[name]} asked" for name in different)
        raise ValueError(f"{path.parent} was collected with other options ({listed}). Use another --out, or the same options.")
