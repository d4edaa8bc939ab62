"""The Panda arm with another jaw on its flange: boxes of the request's sizes, as those of the floating jaw."""

import math
from pathlib import Path
from xml.etree import ElementTree

from grasp_client.contract import Gripper
from sim_worker.world.grippers.jaw import PALM_HEIGHT

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
    t, w, d = gripper.finger_thickness, gripper.finger_width, gripper.finger_depth
    mount = f'<origin xyz="0 0 {tip_from_flange(gripper)}" rpy="0 0 {math.pi / 4}"/>'
    slide = f'<limit lower="0" upper="{gripper.max_width / 2}" effort="100" velocity="1"/><axis xyz="{{}} 0 0"/>'
    palm = (gripper.palm_width, gripper.palm_thickness, PALM_HEIGHT)
    robot.extend(
        [
            *_box("palm", palm, (0, 0, -d - PALM_HEIGHT / 2), PALM_MASS, FLANGE, "fixed", mount),
            *_box("finger_1", (t, w, d), (t / 2, 0, -d / 2), FINGER_MASS, "palm", "prismatic", slide.format(1)),
            *_box("finger_2", (t, w, d), (-t / 2, 0, -d / 2), FINGER_MASS, "palm", "prismatic", slide.format(-1)),
        ]
    )
    return ElementTree.tostring(robot, encoding="unicode")


def _box(name: str, size: Triple, centre: Triple, mass: float, parent: str, joint: str, how: str) -> list[ElementTree.Element]:
    """Link and joint of a box with full extents `size` and its middle at `centre` of its link's frame, m."""
    x, y, z = size
    at = f'<origin xyz="{centre[0]} {centre[1]} {centre[2]}"/>'
    shape = f'{at}<geometry><box size="{x} {y} {z}"/></geometry>'
    moments = [mass / 12 * sides for sides in (y * y + z * z, x * x + z * z, x * x + y * y)]
    inertia = f'<inertia ixx="{moments[0]}" iyy="{moments[1]}" izz="{moments[2]}" ixy="0" ixz="0" iyz="0"/>'
    link = (
        f'<link name="{name}"><inertial>{at}<mass value="{mass}"/>{inertia}</inertial>'
        f"<visual>{shape}</visual><collision>{shape}</collision></link>"
    )
    hinge = f'<joint name="{name}_joint" type="{joint}"><parent link="{parent}"/><child link="{name}"/>{how}</joint>'
    return [ElementTree.fromstring(link), ElementTree.fromstring(hinge)]
