"""A plan as text for a terminal."""

import math
from collections.abc import Sequence

from grasp_client.cli.scene_files import Source
from grasp_client.contract import ActionPlan, Grasp, GraspPlan, Push

_HEADINGS = ("#", "quality", "u [px]", "v [px]", "angle [deg]", "width [mm]", "depth [m]")


def plan_table(plan: GraspPlan) -> str:
    """One line on who planned, one row per grasp, then why others were rejected and what looked odd."""
    lines = [_origin(plan), ""]
    if plan.grasps:
        frame = "base" if plan.grasps[0].pose_base else "camera"
        position = (f"x, y, z in {frame} frame [m]",) if plan.grasps[0].pose_camera else ()
        lines += _aligned([(*_HEADINGS, *position), *(_row(rank, grasp) for rank, grasp in enumerate(plan.grasps, 1))])
    else:
        lines.append("No grasp found; the rejections below say why.")
    rejected = sorted(((count, reason) for reason, count in plan.rejections.items() if count), reverse=True)
    lines += ["", "rejected: " + (", ".join(f"{reason} {count}" for count, reason in rejected) or "nothing")]
    lines += _refused(plan)
    if plan.grasps and not plan.grasps[0].pose_camera:
        lines.append("note: pixels only, because no camera was given; --intrinsics adds metres and poses")
    return "\n".join(lines + [f"warning: {warning}" for warning in plan.warnings])


def as_plan(action: ActionPlan) -> GraspPlan:
    """The grasps that an action is about, as a plan: those that are to be executed, or of the goal where none is."""
    grasps = action.clears if action.action == "clear" else action.grasps if action.action == "grasp" else []
    plan = GraspPlan(planner=action.grasp_planner, model=action.grasp_model, grasps=grasps, warnings=action.warnings)
    return plan.model_copy(update={"rejections": action.rejections, "request_id": action.request_id})


def action_table(action: ActionPlan) -> str:
    """What to do, by whose advice; the pushes, a row each, or the grasps as in `plan_table`."""
    version = f" version {action.model.version}" if action.model else ""
    lines = [f"{action.action} (the goal's best grasp now: {action.goal_quality:.3f}; pushes by {action.planner}{version})"]
    if action.reason:
        lines.append(action.reason)
    told = plan_table(as_plan(action).model_copy(update={"timings_ms": action.timings_ms}))
    if action.action != "push":
        return "\n".join([*lines, told])
    headings = ("#", "after", "gain", "u [px]", "v [px]", "to u", "to v", "length [mm]", "from x, y, z [m]")
    rows = [headings, *(_push_row(rank, push) for rank, push in enumerate(action.pushes, 1))]
    return "\n".join([*lines, "", *_aligned(rows), *(f"warning: {warning}" for warning in action.warnings)])


def _push_row(rank: int, push: Push) -> tuple[str, ...]:
    told = [f"{value:+.3f}" if value is not None else "-" for value in (push.predicted_quality, push.gain)]
    pixels = [f"{value:.0f}" for pixel in (push.start_px, push.end_px) for value in pixel or (math.nan, math.nan)]
    pose = push.start_base or push.start_camera or []
    return str(rank), *told, *pixels, f"{1000 * push.length:.0f}", " ".join(f"{row[3]:+.3f}" for row in pose[:3])


def plans_table(answers: Sequence[tuple[Source, GraspPlan | str]]) -> str:
    """A row per file: how many grasps, the best, and what looked odd; of what was not answered, why."""
    headings = ("file", "grasps", "quality", "u [px]", "v [px]", "width [mm]", "planner")
    rows = [headings, *(_summary(path, found) for path, found in answers)]
    lines = _aligned(rows)
    for path, found in answers:
        told = [found] if isinstance(found, str) else [f"warning: {warning}" for warning in found.warnings]
        lines += [f"{path.name}: {text}" for text in told]
    planned = [found for _, found in answers if isinstance(found, GraspPlan)]
    with_grasps = sum(bool(plan.grasps) for plan in planned)
    return "\n".join([*lines, f"{len(answers)} images, {len(planned)} answered, {with_grasps} with a grasp"])


def _summary(path: Source, found: GraspPlan | str) -> tuple[str, ...]:
    if isinstance(found, str):
        return (path.name, "refused", *["-"] * 5)
    if not found.grasps:
        return (path.name, "0", *["-"] * 4, found.planner)
    _, quality, u, v, _, width, *_ = _row(1, found.grasps[0])
    return path.name, str(len(found.grasps)), quality, u, v, width, found.planner


def _origin(plan: GraspPlan) -> str:
    model = f", model {plan.model.name} version {plan.model.version}" if plan.model else ", no model"
    timings = ", ".join(f"{name} {spent:.1f}" for name, spent in plan.timings_ms.items())
    return f"planner {plan.planner}{model}; ms: {timings or 'not given'}; request {plan.request_id or 'without id'}"


def _row(rank: int, grasp: Grasp) -> tuple[str, ...]:
    pose = grasp.pose_base or grasp.pose_camera
    position = (" ".join(f"{row[3]:+.3f}" for row in pose[:3]),) if pose else ()
    u, v = grasp.center_px
    width = "-" if grasp.width is None else f"{1000 * grasp.width:.1f}"
    depth = "-" if grasp.depth is None else f"{grasp.depth:.3f}"
    angle = f"{math.degrees(grasp.angle):+.1f}"
    return str(rank), f"{grasp.quality:.3f}", f"{u:.1f}", f"{v:.1f}", angle, width, depth, *position


def _refused(plan: GraspPlan) -> list[str]:
    """A row per refused grasp, where they were asked for."""
    if plan.refused is None:
        return []
    headings = ("refused for", "part", "met at [px]", "u [px]", "v [px]", "angle [deg]")
    rows = [
        (
            each.reason,
            each.part or "-",
            "-" if each.obstacle_px is None else " ".join(f"{value:.0f}" for value in each.obstacle_px),
            *_row(0, each)[2:5],
        )
        for each in plan.refused
    ]
    return ["", *_aligned([headings, *rows])] if rows else ["", "refused: nothing was found to tell of"]


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
