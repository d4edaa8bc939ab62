"""Hammers: a light handle and a heavy head, as URDF files. Depth shows which end is the head, but not that it is heavy.

A hand that takes the handle in its middle lifts a hammer that swings down or slips; one that takes it at the head lifts it
well. Who has only met things of even density cannot know that; a robot in a workshop meets such things every day.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

USUAL, LONG = (0.15, 0.20), (0.22, 0.28)
"""Lengths of handles, m. Of the long ones the shipped weights lift about half."""
HANDLE, HEAD = 500.0, 7_800.0
"""kg/m3: wood and steel."""
_BOX = '<origin xyz="{0:.5f} 0 0"/><geometry><box size="{1:.5f} {2:.5f} {3:.5f}"/></geometry>'
_URDF = """<?xml version="1.0"?>
<robot name="{name}">
  <link name="tool">
    <inertial>
      <origin xyz="{centre:.5f} 0 0"/>
      <mass value="{mass:.4f}"/>
      <inertia ixx="1e-4" ixy="0" ixz="0" iyy="1e-4" iyz="0" izz="1e-4"/>
    </inertial>
{shapes}
  </link>
</robot>
"""


def hammer(name: str, random: np.random.Generator, lengths: tuple[float, float] = USUAL) -> str:
    """The URDF text of one: along x, the handle from 0, the head at its end across it. lengths: of handles, m."""
    length, side = random.uniform(*lengths), random.uniform(0.018, 0.026)
    head = np.array([random.uniform(0.024, 0.034), random.uniform(0.055, 0.085), random.uniform(0.024, 0.034)])
    boxes = [(length / 2, length, side, side), (length + head[0] / 2, *head)]
    masses = np.array([HANDLE * length * side**2, HEAD * head.prod()])
    centre = float(np.average([box[0] for box in boxes], weights=masses))
    shapes = [f"    <{kind}>{_BOX.format(*box)}</{kind}>" for kind in ("visual", "collision") for box in boxes]
    return _URDF.format(name=name, centre=centre, mass=masses.sum(), shapes="\n".join(shapes))


def write(folder: Path, count: int, seed: int, lengths: tuple[float, float] = USUAL) -> Path:
    """`count` hammers, the same for the same seed."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        name = f"hammer-{seed}-{k}"
        (folder / f"{name}.urdf").write_text(hammer(name, random, lengths))
    return folder
