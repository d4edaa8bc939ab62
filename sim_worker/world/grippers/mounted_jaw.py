"""The Panda arm with another jaw on its flange: boxes of the request's sizes, as those of the floating jaw."""

import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from grasp_client.contract import Gripper
from sim_worker.world.grippers.jaw import PALM_HEIGHT, finger_boxes

FLANGE = "panda_link8"
OWN_HAND = ("panda_hand", "panda_leftfinger", "panda_rightfinger", "panda_grasptarget")
PALM_MASS, FINGER_MASS = 0.6, 0.1
"""kg, those of the floating jaw."""
Triple = tuple[float, float, float]


def tip_from_flange(gripper: Gripper) -> float:
    """m along the flange's z to the tips of a mounted jaw."""
    return PALM_HEIGHT + gripper.finger_depth


def arm_with(gripper: Gripper, arm: Path) -> str:
    """URDF text of the arm in the file `arm` with this jaw in place of the Panda hand; all links keep their numbers.

    The palm's link frame is the tip frame; both fingers slide outwards along its x.
    """
    robot = ElementTree.parse(arm).getroot()
    for part in list(robot):
        child = part.find("child")
        if part.get("name") in OWN_HAND or (child is not None and child.get("link") in OWN_HAND):
            robot.remove(part)
    for mesh in robot.iter("mesh"):
        mesh.set("filename", str(arm.parent / mesh.get("filename", "").removeprefix("package://")))
    mount = f'<origin xyz="0 0 {tip_from_flange(gripper)}" rpy="0 0 {math.pi / 4}"/>'
    slide = f'<limit lower="0" upper="{gripper.max_width / 2}" effort="100" velocity="1"/><axis xyz="{{}} 0 0"/>'
    palm = (gripper.palm_width, gripper.palm_thickness, PALM_HEIGHT), (0.0, 0.0, -gripper.finger_depth - PALM_HEIGHT / 2)
    fingers = [
        [
            ((t, gripper.finger_width, high - low), (side * t / 2, 0.0, -(low + high) / 2))
            for t, low, high in finger_boxes(gripper)
        ]
        for side in (1, -1)
    ]
    robot.extend(
        [
            *_link("palm", [palm], PALM_MASS, FLANGE, "fixed", mount),
            *_link("finger_1", fingers[0], FINGER_MASS, "palm", "prismatic", slide.format(1)),
            *_link("finger_2", fingers[1], FINGER_MASS, "palm", "prismatic", slide.format(-1)),
        ]
    )
    return ElementTree.tostring(robot, encoding="unicode")


def _link(
    name: str, boxes: Sequence[tuple[Triple, Triple]], mass: float, parent: str, joint: str, how: str
) -> list[ElementTree.Element]:
    """Link and joint of boxes: full extents, and where their middles lie in its link's frame, m. The last one has the mass."""
    shapes = [f'<origin xyz="{c[0]} {c[1]} {c[2]}"/><geometry><box size="{x} {y} {z}"/></geometry>' for (x, y, z), c in boxes]
    (x, y, z), centre = boxes[-1]
    moments = [mass / 12 * sides for sides in (y * y + z * z, x * x + z * z, x * x + y * y)]
    inertia = f'<inertia ixx="{moments[0]}" iyy="{moments[1]}" izz="{moments[2]}" ixy="0" ixz="0" iyz="0"/>'
    link = (
        f'<link name="{name}"><inertial><origin xyz="{centre[0]} {centre[1]} {centre[2]}"/><mass value="{mass}"/>{inertia}'
        f"</inertial>{''.join(f'<visual>{each}</visual><collision>{each}</collision>' for each in shapes)}</link>"
    )
    hinge = f'<joint name="{name}_joint" type="{joint}"><parent link="{parent}"/><child link="{name}"/>{how}</joint>'
    return [ElementTree.fromstring(link), ElementTree.fromstring(hinge)]
