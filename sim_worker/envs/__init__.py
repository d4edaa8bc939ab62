"""Environments for reinforcement learning on the simulated cell; importing this registers them with gymnasium.

import gymnasium, sim_worker.envs
env = gymnasium.make("GraspLoop/ClosedLoop-v0")                 # one world
worlds = gymnasium.make_vec("GraspLoop/ClosedLoop-v0", num_envs=8)   # eight in this process, one curriculum
"""

from functools import partial

import gymnasium

from sim_worker.envs.closed_loop import ClosedLoop
from sim_worker.envs.closed_loop_any import ClosedLoopAny
from sim_worker.envs.vector import Worlds

closed_loop = partial(Worlds, ClosedLoop)
closed_loop_any = partial(Worlds, ClosedLoopAny)

gymnasium.register(
    "GraspLoop/ClosedLoop-v0", "sim_worker.envs.closed_loop:ClosedLoop", vector_entry_point="sim_worker.envs:closed_loop"
)
gymnasium.register(
    "GraspLoop/ClosedLoopAny-v0",
    "sim_worker.envs.closed_loop_any:ClosedLoopAny",
    vector_entry_point="sim_worker.envs:closed_loop_any",
)
gymnasium.register("GraspLoop/Reach-v0", "sim_worker.envs.reach:Reach")
gymnasium.register("GraspLoop/Refine-v0", "sim_worker.envs.refine:Refine")
gymnasium.register("GraspLoop/PushGrasp-v0", "sim_worker.envs.push_grasp:PushGrasp")
