"""GraspLoop's client: send an image, get ranked grasps. Needs numpy, httpx, pydantic and pillow only.

    from grasp_client import GraspClient
    with GraspClient("http://127.0.0.1:8000") as client:
        plan = client.predict_grasp(depth, camera={"fx": 525.0, "fy": 525.0, "cx": 319.5, "cy": 239.5})
        print(plan.grasps[0].quality, plan.grasps[0].pose_camera)

`python -m grasp_client --help` is the command line.
"""

from grasp_client.async_client import AsyncGraspClient
from grasp_client.client import DEFAULT_URL, GraspClient
from grasp_client.contract import ModelEntry, ModelPointers, PlannerEntry
from grasp_client.errors import (
    DeadlineExceeded,
    GraspServerError,
    InvalidRequest,
    NotAllowed,
    ServerBusy,
    ServerUnreachable,
)
from grasp_client.input_warnings import InputWarning
from grasp_client.inputs import observe
from grasp_client.servo import Servo

__all__ = [
    "DEFAULT_URL",
    "AsyncGraspClient",
    "DeadlineExceeded",
    "GraspClient",
    "GraspServerError",
    "InputWarning",
    "InvalidRequest",
    "ModelEntry",
    "ModelPointers",
    "NotAllowed",
    "PlannerEntry",
    "ServerBusy",
    "ServerUnreachable",
    "Servo",
    "observe",
]
