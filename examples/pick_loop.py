"""Empties a pile with a Panda hand: plan, execute, report, plan again. `python examples/pick_loop.py --objects 5`

`Cell` is the only thing to replace by a camera and a robot: here it is the simulator. All else goes through the client.
"""

import argparse

import numpy as np

from grasp_client import GraspClient
from grasp_client.contract import CameraIntrinsics, Grasp
from sim_worker.world import SceneSpec, World

FAILURES = 3
"""In a row, after which a person is called."""


class Cell:
    """A camera that looks down on a table, and an arm with a Panda hand."""

    def __init__(self, seed: int, objects: int) -> None:
        self.scene = World().build(SceneSpec(seed=seed, kind="pile", count=objects, object_set="household"))

    def look(self) -> tuple[np.ndarray, CameraIntrinsics, np.ndarray]:
        """Depth (H, W) m, intrinsics, and the camera's pose (4, 4) in the base frame, as it was calibrated."""
        view = self.scene.observe()
        assert view.observation.depth is not None
        return view.observation.depth, view.camera, np.asarray(view.camera_pose)

    def pick(self, grasp: Grasp) -> tuple[bool, str | None]:
        """Grasps and lifts; (held?, else why not). What is held is put away."""
        done = self.scene.attempt(np.asarray(grasp.pose_base), grasp.width or 0.08)
        if done.success and done.object_name:
            self.scene.remove(done.object_name)
        return done.success, done.failure

    @property
    def left(self) -> int:
        return len(self.scene.objects)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--objects", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-reports", dest="reports", action="store_false", help="do not tell the server what happened")
    options = parser.parse_args()
    cell, picked, failed = Cell(options.seed, options.objects), 0, list[Grasp]()
    with GraspClient(options.url) as client:
        while cell.left and len(failed) < FAILURES:
            depth, camera, pose = cell.look()
            told = [{"pose_base": each.pose_base, "quality": each.quality} for each in failed]
            plan = client.predict_grasp(depth, camera=camera, camera_pose=pose, failed=told)
            if not plan.grasps:
                print(f"no grasp left: {plan.rejections}")
                break
            success, why = cell.pick(plan.grasps[0])
            if options.reports:
                client.report_outcome(
                    success=success,
                    failure=why,
                    request_id=plan.request_id,
                    rank=0,
                    robot="example",
                    group=f"pile-{options.seed}",
                )
            print(f"{'picked' if success else why}, promised {plan.grasps[0].quality:.2f}, {cell.left} left")
            picked += success
            failed = [] if success else [*failed, plan.grasps[0]]
    print(f"{picked} of {options.objects} picked")
    return 0 if picked else 1


if __name__ == "__main__":
    raise SystemExit(main())
