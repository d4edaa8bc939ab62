// The view Plan: images in, ranked grasps out, in the picture and in three dimensions.

import { ask, byId, chips, choices, fill, get, save, show } from "./api.js";
import { Picture } from "./picture.js";
import { depth_picture, read_depth } from "./readers.js";

const CAMERAS = {
  "own, or unknown": null,
  "RealSense D435, 640 x 480": [615.0, 615.0, 320.0, 240.0],
  "RealSense D435, 1280 x 720": [920.0, 920.0, 640.0, 360.0],
  "Azure Kinect, 640 x 576": [504.0, 504.0, 320.0, 332.0],
  "Kinect v1 or Astra, 640 x 480": [525.0, 525.0, 319.5, 239.5],
};
const NUMBERS = ["fx", "fy", "cx", "cy"];

const form = byId("ask");
const fields = form.elements;
const images = { depth: null, rgb: null, segmask: null, goal: null };
const told = []; // what to do after every plan
let presets = {};
let depth = null;
let reply = null;
let space = null;
let selected = 0;

const picture = new Picture(byId("picture"), {
  chosen: (rank) => choose(rank),
  dragged: (region) => (fields.marking.checked ? mark(region) : (fields.region.value = region.join(", "))),
  clicked: (pixel) => {
    if (fields.marking.checked) unmark(pixel.join(", "));
    return fields.marking.checked;
  },
});

// The goal is a pixel of it, in the field, or none.
function unmark(point = "") {
  fields.point.value = point;
  fields.goal.value = "";
  images.goal = picture.goal = null;
  picture.draw();
}

// The goal is what lies in a box, pixels [u0, v0, u1, v1], sent as a mask.
function mark(box) {
  unmark();
  const { width, height } = picture.base;
  const shape = `{'descr': '|u1', 'fortran_order': False, 'shape': (${height}, ${width}), }`;
  const header = new TextEncoder().encode(shape.padEnd(128 - 10 - 1) + "\n");
  const cells = new Uint8Array(width * height);
  for (let v = box[1]; v <= box[3]; v++) cells.fill(1, v * width + box[0], v * width + box[2] + 1);
  const magic = new Uint8Array([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length, 0]);
  images.goal = new File([magic, header, cells], "goal.npy", { type: "application/x-npy" });
  [picture.goal, picture.region] = [box, null];
}

export const after_plan = (action) => told.push(action);

// The multipart body of the images and options in the form. Throws an Error that names the field which is wrong.
export function request_body(changes = {}) {
  const body = new FormData();
  for (const [name, file] of Object.entries(images)) if (file) body.append(name, file);
  if (!images.depth && !images.rgb) throw new Error("pick or drop a depth or colour image first");
  body.append("request", JSON.stringify({ ...options(), ...changes }));
  return body;
}

function number(name) {
  const text = fields[name].value.trim();
  const wrong = text !== "" && !Number.isFinite(Number(text));
  fields[name].setAttribute("aria-invalid", wrong);
  if (wrong) throw new Error(`${name}: expected a number, got "${text}"`);
  return text === "" ? null : Number(text);
}

function options() {
  const camera = NUMBERS.map((name) => [name, number(name)]);
  const given = camera.filter(([, value]) => value !== null).length;
  if (given && given < NUMBERS.length) throw new Error("camera: expected all of fx, fy, cx, cy, or none");
  const request = { planner: fields.planner.value, n_grasps: Number(fields.n_grasps.value), min_quality: Number(fields.min_quality.value) };
  if (given) request.camera = Object.fromEntries(camera);
  const table = number("table_depth");
  if (table !== null) request.table_depth = table;
  if (fields.camera_pose.value.trim()) request.camera_pose = JSON.parse(fields.camera_pose.value);
  if (fields.region.value.trim()) request.region = fields.region.value.split(/[\s,]+/).filter(Boolean).map(Number);
  if (fields.point.value.trim()) request.point = fields.point.value.split(/[\s,]+/).filter(Boolean).map(Number);
  if (fields.bin.checked) request.bin = true;
  if (fields.return_heatmap.checked) request.return_heatmap = true;
  if (fields.explain.checked) request.explain = true;
  if (fields.gripper.value) request.gripper = fields.gripper.value;
  return request;
}

async function plan(event, path = "predict_grasp") {
  event?.preventDefault();
  const started = performance.now();
  busy(true);
  try {
    const body = request_body(path === "predict_action" ? { return_heatmap: undefined, explain: undefined } : {});
    const response = await ask(path, { method: "POST", body });
    const answer = await response.json();
    if (answer.error) throw new Error(answer.error.message);
    reply = answer.action ? { ...answer, grasps: { grasp: answer.grasps, clear: answer.clears }[answer.action] ?? [] } : answer;
    reply.pushes = answer.action === "push" ? answer.pushes : [];
    await show_reply(started);
    told.forEach((action) => action());
  } catch (error) {
    failed(error instanceof SyntaxError ? "camera pose: expected a 4x4 matrix as JSON, [[...], [...], [...], [...]]" : error.message);
  } finally {
    busy(false);
  }
}

function busy(on) {
  byId("go").disabled = on;
  byId("plan").classList.toggle("busy", on);
  byId("plan").setAttribute("aria-busy", on);
}

// An error is told, and what was shown before is marked as of before.
function failed(message) {
  byId("answer").className = "bad";
  show("answer", message);
  byId("warnings").replaceChildren();
  byId("plan").classList.add("failed");
}

async function show_reply(started) {
  const model = reply.model ? ` (${reply.model.name} ${reply.model.version})` : "";
  byId("plan").classList.remove("failed");
  byId("answer").className = "";
  byId("warnings").replaceChildren(...reply.warnings.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  const angle = (grasp) => `${((grasp.angle * 180) / Math.PI).toFixed(0)}°`;
  const centre = (grasp) => grasp.center_px.map((value) => value.toFixed(0)).join(", ");
  const millimetres = (value) => (value == null ? null : `${(1e3 * value).toFixed(0)} mm`);
  fill("grasps", reply.grasps.map((grasp, rank) => [rank + 1, grasp.quality.toFixed(3), centre(grasp), angle(grasp), millimetres(grasp.depth), millimetres(grasp.width)]));
  [...byId("grasps").tBodies[0].rows].forEach((row, rank) => row.addEventListener("click", () => choose(rank)));
  byId("grasps").hidden = !reply.grasps.length;
  byId("exports").hidden = false;
  chips("rejections", Object.entries(reply.rejections));
  chips("timings", Object.entries(reply.timings_ms).map(([stage, value]) => [stage, `${value.toFixed(1)} ms`]));
  const overlay = reply.heatmap_png ? await bitmap(await (await fetch(`data:image/png;base64,${reply.heatmap_png}`)).blob()) : null;
  const refused = reply.refused ?? [];
  const words = (text) => text?.replace("_", " ") ?? null;
  fill("refused-grasps", refused.map((grasp) => [grasp.reason.replaceAll("_", " "), words(grasp.part), centre(grasp), angle(grasp)]));
  byId("refused-grasps").hidden = !refused.length;
  picture.show(picture.base, reply.grasps, overlay, refused, reply.pushes);
  choose(0);
  const beyond = performance.now() - started - reply.timings_ms.total;
  const value = reply.pushes[0]?.predicted_quality;
  const after = value == null ? "" : `, after the push probably ${value.toFixed(2)}`;
  const next = `${reply.action}: the best grasp of the thing is ${reply.goal_quality?.toFixed(2)} now${after}. ${reply.reason ?? ""} Pushes`;
  show("answer", `${reply.action ? next : `${reply.grasps.length} grasps`} by ${reply.planner}${model} in ${reply.timings_ms.total.toFixed(0)} ms, shown ${beyond.toFixed(0)} ms later`);
}

function choose(rank) {
  if (!reply?.grasps.length) return draw_space();
  selected = Math.min(reply.grasps.length - 1, Math.max(0, rank));
  picture.select(selected);
  [...byId("grasps").tBodies[0].rows].forEach((row, index) => row.setAttribute("aria-selected", index === selected));
  draw_space(true);
}

const bitmap = (file) => createImageBitmap(file).catch(() => null);

async function pick(name, file) {
  images[name] = file;
  if (name === "segmask") return;
  if (name === "goal") return [fields.point.value, picture.goal] = ["", null];
  unmark();
  reply = null;
  depth = images.depth ? await read_depth(images.depth).catch(() => null) : null;
  const colour = images.rgb ? await bitmap(images.rgb) : null;
  const shown = colour ?? (depth ? await createImageBitmap(depth_picture(depth)) : images.depth ? await bitmap(images.depth) : null);
  picture.region = null;
  fields.region.value = "";
  picture.show(shown);
  for (const id of ["grasps", "refused-grasps", "exports", "space"]) byId(id).hidden = true;
  byId("show3d").setAttribute("aria-pressed", false);
  chips("rejections", []);
  chips("timings", []);
  byId("warnings").replaceChildren();
  show("answer", shown ? "" : "this browser cannot show that file; it can still be planned on");
}

const kind_of = ({ name }) => (/mask|seg/i.test(name) ? "segmask" : /depth|\.npy$|\.tiff?$|\.pgm$|\.npz$/i.test(name) ? "depth" : "rgb");

async function example() {
  const load = async (name, type) => new File([await (await ask(`dashboard/example/${name}`)).blob()], name, { type });
  const request = await get("dashboard/example/request.json");
  await pick("depth", await load("depth.png", "image/png"));
  await pick("rgb", await load("color.jpg", "image/jpeg"));
  NUMBERS.forEach((name) => (fields[name].value = request.camera[name]));
  fields.camera_pose.value = JSON.stringify(request.camera_pose);
  await plan();
}

// What is needed for three dimensions, or an Error that says what is missing.
function metric() {
  const camera = options().camera;
  if (!depth || !camera) throw new Error("three dimensions need a depth image (16-bit PNG or npy) and the camera's fx, fy, cx, cy");
  return camera;
}

async function points() {
  const camera = metric();
  const { cloud } = await import("./viewer/space.js");
  let colours = null;
  if (picture.base && picture.base.width === depth.width && picture.base.height === depth.height) {
    const canvas = new OffscreenCanvas(depth.width, depth.height);
    canvas.getContext("2d").drawImage(picture.base, 0, 0);
    colours = canvas.getContext("2d").getImageData(0, 0, depth.width, depth.height);
  }
  return cloud(depth, camera, colours);
}

const sizes = () => presets[fields.gripper.value];

async function draw_space(keep_view = false) {
  if (byId("space").hidden) return;
  const { Space } = await import("./viewer/space.js");
  const first = !space;
  space ??= new Space(byId("space"));
  space.show(await points(), reply?.grasps ?? [], sizes(), selected, keep_view && !first, reply?.refused ?? [], reply?.pushes ?? []);
}

async function toggle_space() {
  const on = byId("space").hidden;
  if (on) metric();
  byId("space").hidden = !on;
  byId("show3d").setAttribute("aria-pressed", on);
  await draw_space();
}

async function export_glb() {
  if (byId("space").hidden) await toggle_space();
  save("grasps.glb", await space.glb());
}

async function export_ply() {
  const { ply } = await import("./viewer/space.js");
  save("grasps.ply", ply(await points(), reply?.grasps ?? [], sizes(), reply?.refused ?? []));
}

const guarded = (action) => (event) => Promise.resolve(action(event)).catch((error) => failed(error.message));

export async function refresh_choices(planners) {
  choices(fields.planner, ["auto", ...planners.filter(({ ready }) => ready).map(({ name }) => name)]);
  if (Object.keys(presets).length) return;
  presets = (await get("grippers")).grippers;
  choices(fields.gripper, Object.keys(presets));
}

choices(fields.preset, Object.keys(CAMERAS));
fields.preset.addEventListener("change", () => NUMBERS.forEach((name, index) => (fields[name].value = CAMERAS[fields.preset.value]?.[index] ?? "")));
for (const name of Object.keys(images)) fields[name].addEventListener("change", guarded(() => pick(name, fields[name].files[0] ?? null)));
form.addEventListener("submit", plan);
byId("act").addEventListener("click", guarded(() => plan(null, "predict_action")));
byId("unmark").addEventListener("click", () => unmark());
byId("example").addEventListener("click", guarded(example));
byId("clear").addEventListener("click", () => ((fields.region.value = ""), (picture.region = null), picture.draw()));
fields.region.addEventListener("change", () => {
  const region = fields.region.value.split(/[\s,]+/).filter(Boolean).map(Number);
  picture.region = region.length === 4 && region.every(Number.isFinite) ? region : null;
  picture.draw();
});
byId("show3d").addEventListener("click", guarded(toggle_space));
byId("save-png").addEventListener("click", () => byId("picture").toBlob((blob) => save("grasps.png", blob)));
byId("save-ply").addEventListener("click", guarded(export_ply));
byId("save-glb").addEventListener("click", guarded(export_glb));
byId("save-json").addEventListener("click", () => save("grasps.json", new Blob([JSON.stringify(reply, null, 1)])));

const drop = byId("drop");
for (const target of [drop, byId("picture")]) {
  target.addEventListener("dragover", (event) => (event.preventDefault(), drop.classList.add("over")));
  target.addEventListener("dragleave", () => drop.classList.remove("over"));
  target.addEventListener(
    "drop",
    guarded(async (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      const files = [...event.dataTransfer.files];
      // Another scene: what belongs to the one before would not fit it.
      if (files.some((file) => kind_of(file) === "depth")) for (const name of Object.keys(images)) images[name] = null;
      for (const file of files) await pick(kind_of(file), file);
      await plan();
    }),
  );
}

// Arrow keys choose a grasp wherever no field has the focus.
export function key_pressed(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && reply?.grasps.length) {
    event.preventDefault();
    choose(selected + step);
  }
}
