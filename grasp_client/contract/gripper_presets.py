"""Sizes of hands that can be named in place of being described, m. What a preset leaves out is the contract's default.

Of a hand whose fingers swing on links, the sizes are those of the open hand: that is how it comes down.
"""

PRESETS: dict[str, dict[str, str | float]] = {
    # Franka Emika Panda hand: measured on Franka's own meshes of hand and finger (franka_description). The defaults.
    "franka_hand": {},
    # Robotiq 2F-85: stroke and outer sizes from Robotiq's instruction manual (specifications), fingertip 22 x 37.5 mm and links
    # from the CAD that the MuJoCo Menagerie's model is made of.
    "robotiq_2f_85": {
        "max_width": 0.085,
        "finger_width": 0.022,
        "finger_thickness": 0.032,
        "finger_depth": 0.055,
        "pad_thickness": 0.0135,
        "pad_depth": 0.0375,
        "palm_width": 0.149,
        "palm_thickness": 0.075,
    },
    # Robotiq 2F-140: the same manual; fingertip 27 x 65 mm from ROS-Industrial's model.
    "robotiq_2f_140": {
        "max_width": 0.14,
        "finger_width": 0.027,
        "finger_thickness": 0.036,
        "finger_depth": 0.1,
        "pad_thickness": 0.0145,
        "pad_depth": 0.065,
        "palm_width": 0.212,
        "palm_thickness": 0.075,
    },
    # Weiss Robotics / Schunk WSG 50-110 with its basic fingers: data sheet (stroke, body), Drake's model (fingers).
    "wsg_50": {
        "max_width": 0.11,
        "finger_width": 0.02,
        "finger_thickness": 0.016,
        "finger_depth": 0.075,
        "palm_width": 0.146,
        "palm_thickness": 0.05,
    },
    # Round bellows cups, 1.5 bellows, soft lip: diameters as vacuum makers' catalogues (Schmalz FSGA, Piab B) list them.
    "suction_7.5mm": {"kind": "suction", "cup_radius": 0.0075},
    "suction_15mm": {"kind": "suction", "cup_radius": 0.015},
    "suction_30mm": {"kind": "suction", "cup_radius": 0.03},
}
