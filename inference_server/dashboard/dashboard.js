// What the server does now, from its own endpoints, and a form to try an image. No library, no build.

const PERIOD_MS = 2000;
const SAMPLES = 120;
const byId = (id) => document.getElementById(id);
const rates = [];
let last = null;
let key = sessionStorage.getItem("key") ?? "";

async function ask(path, options = {}) {
  const headers = { ...(key && { "X-API-Key": key }), ...options.headers };
  const response = await fetch(path, { ...options, headers });
  byId("key").hidden = !(response.status === 401 || response.status === 403);
  return response;
}

// Prometheus text to {name: [{labels, value}]}.
function series(text) {
  const found = {};
  for (const line of text.split("\n")) {
    const parts = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!parts) continue;
    const labels = Object.fromEntries([...(parts[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map((m) => [m[1], m[2]]));
    (found[parts[1]] ??= []).push({ labels, value: Number(parts[3]) });
  }
  return found;
}

const total = (entries, keep = () => true) => (entries ?? []).filter(keep).reduce((sum, entry) => sum + entry.value, 0);
const planning = (entry) => entry.labels.endpoint?.startsWith("/predict_grasp");

// Quantile of what was observed between two readings of a histogram's buckets, seconds.
function quantile(now, before, share) {
  const count = (reading, bound) => total(reading, (entry) => planning(entry) && entry.labels.le === bound);
  const bounds = [...new Set((now ?? []).filter(planning).map((entry) => entry.labels.le))];
  const counts = bounds.map((bound) => count(now, bound) - count(before, bound));
  const all = counts.at(-1) ?? 0;
  if (!all) return null;
  const at = counts.findIndex((value) => value >= share * all);
  const upper = Number(bounds[at].replace("+Inf", "Infinity"));
  const lower = at ? Number(bounds[at - 1]) : 0;
  if (!Number.isFinite(upper)) return lower;
  const below = at ? counts[at - 1] : 0;
  return lower + ((upper - lower) * (share * all - below)) / (counts[at] - below);
}

const show = (id, text) => (byId(id).textContent = text);
const milliseconds = (seconds) => (seconds === null ? "–" : `${(seconds * 1e3).toPrecision(3)} ms`);

async function figures() {
  const now = { time: performance.now(), ...series(await (await ask("metrics")).text()) };
  if (last) {
    const seconds = (now.time - last.time) / 1e3;
    const grown = (name, keep) => total(now[name], keep) - total(last[name], keep);
    const rate = grown("grasp_requests_total", planning) / seconds;
    const batches = grown("grasp_batch_size_count");
    show("rate", rate.toFixed(1));
    show("p50", milliseconds(quantile(now.grasp_request_seconds_bucket, last.grasp_request_seconds_bucket, 0.5)));
    show("p95", milliseconds(quantile(now.grasp_request_seconds_bucket, last.grasp_request_seconds_bucket, 0.95)));
    show("batch", batches ? (grown("grasp_batch_size_sum") / batches).toFixed(1) : "–");
    show("refused", (grown("grasp_rejected_total") / seconds).toFixed(1));
    rates.push(rate);
    rates.splice(0, rates.length - SAMPLES);
    draw_history();
  }
  show("queue", total(now.grasp_queue_depth));
  show("memory", `${(total(now.process_resident_memory_bytes) / 2 ** 20).toFixed(0)} MiB`);
  last = now;
}

function draw_history() {
  const most = Math.max(1, ...rates);
  const points = rates.map((rate, index) => `${600 - (rates.length - 1 - index) * (600 / SAMPLES)},${58 - (56 * rate) / most}`);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  line.setAttribute("points", points.join(" "));
  byId("history").replaceChildren(line);
}

async function state() {
  const ready = await (await ask("ready")).json();
  const failed = Object.entries(ready.failures).map(([name, reason]) => `${name}: ${reason}`);
  const text = ready.ready ? `ready on ${ready.device}, ${ready.threads} threads` : ready.warm ? "not ready" : "warming up";
  show("state", [text, ...failed].join("; "));
  byId("state").className = `state ${ready.ready && !failed.length ? "good" : "bad"}`;
}

function fill(id, rows) {
  byId(id).tBodies[0].replaceChildren(
    ...rows.map((cells) => {
      const row = document.createElement("tr");
      row.append(...cells.map((cell) => Object.assign(document.createElement("td"), { textContent: cell ?? "–" })));
      return row;
    }),
  );
}

const percent = (share) => (share == null ? "–" : `${(100 * share).toFixed(0)} %`);

async function models() {
  const listed = await (await ask("models")).json();
  const entries = await Promise.all((listed.models ?? []).map(async ({ name }) => (await ask(`models/${name}?limit=20`)).json()));
  const row = (model) => {
    const card = model.cards.find(({ version }) => version === model.serving);
    const success = ({ rate, low, high } = {}) => (rate == null ? null : `${percent(rate)} (${percent(low)} to ${percent(high)})`);
    const candidate = [model.candidate, model.ab_test].filter((part) => part != null).join(": ");
    return [model.name, model.serving, model.champion, candidate || null, model.previous, model.versions.length,
      card?.metrics.ap?.toFixed(3), success(card?.simulated ?? undefined), success(card?.robots ?? undefined)];
  };
  fill("models", entries.map(row));
}

async function planners() {
  const entries = (await (await ask("planners")).json()).planners ?? [];
  const model = (entry) => (entry.model ? `${entry.model} ${entry.version ?? "(none loaded)"}` : null);
  fill("planners", entries.map((entry) => [entry.name, entry.inputs.join(" + "), entry.grippers.join(", "), model(entry), entry.description]));
  const choice = byId("try").elements.planner;
  const chosen = choice.value;
  choice.replaceChildren(...["auto", ...entries.filter(({ ready }) => ready).map(({ name }) => name)].map((name) => new Option(name)));
  choice.value = [...choice.options].some(({ value }) => value === chosen) ? chosen : "auto";
}

async function plan(event) {
  event.preventDefault();
  const fields = event.target.elements;
  const body = new FormData();
  for (const name of ["depth", "rgb", "segmask"]) if (fields[name].files[0]) body.append(name, fields[name].files[0]);
  const numbers = ["fx", "fy", "cx", "cy"].map((name) => [name, parseFloat(fields[name].value)]);
  const request = { planner: fields.planner.value, n_grasps: Number(fields.n_grasps.value), gripper: { kind: fields.kind.value }, return_heatmap: true };
  if (numbers.every(([, value]) => Number.isFinite(value))) request.camera = Object.fromEntries(numbers);
  body.append("request", JSON.stringify(request));
  const reply = await (await ask("predict_grasp", { method: "POST", body })).json();
  byId("answer").className = reply.error ? "bad" : "";
  if (reply.error) return show("answer", reply.error.message);
  const rejected = Object.entries(reply.rejections).map(([reason, count]) => `${reason} ${count}`).join(", ");
  const model = reply.model ? ` (${reply.model.name} ${reply.model.version})` : "";
  show("answer", `${reply.grasps.length} grasps by ${reply.planner}${model} in ${reply.timings_ms.total.toFixed(1)} ms. Rejected: ${rejected}. ${reply.warnings.join(". ")}`);
  const angle = (grasp) => `${((grasp.angle * 180) / Math.PI).toFixed(0)}°`;
  const centre = (grasp) => grasp.center_px.map((value) => value.toFixed(0)).join(", ");
  const metres = (value) => (value == null ? null : `${(1e3 * value).toFixed(0)} mm`);
  fill("grasps", reply.grasps.map((grasp, rank) => [rank + 1, grasp.quality.toFixed(3), centre(grasp), angle(grasp), metres(grasp.depth), metres(grasp.width)]));
  byId("grasps").hidden = !reply.grasps.length;
  await draw(reply, fields.rgb.files[0] ?? fields.depth.files[0]);
}

// Grasps over the planner's heat map, else over the picture itself where the browser can show it.
async function draw(reply, file) {
  const source = reply.heatmap_png ? await (await fetch(`data:image/png;base64,${reply.heatmap_png}`)).blob() : file;
  const canvas = byId("picture");
  const picture = await createImageBitmap(source).catch(() => null);
  if (!picture) return Object.assign(canvas, { width: 0, height: 0 });
  Object.assign(canvas, { width: picture.width, height: picture.height });
  const pen = canvas.getContext("2d");
  pen.drawImage(picture, 0, 0);
  [...reply.grasps].reverse().forEach((grasp) => stroke(pen, grasp));
}

function stroke(pen, grasp) {
  pen.save();
  pen.translate(grasp.center_px[0] + 0.5, grasp.center_px[1] + 0.5);
  pen.rotate(grasp.angle);
  pen.strokeStyle = `hsl(${120 * grasp.quality} 80% 50%)`;
  pen.lineWidth = 2;
  const half = (grasp.width_px ?? 30) / 2;
  pen.beginPath();
  if (grasp.kind === "suction") pen.arc(0, 0, 8, 0, 2 * Math.PI);
  else for (const [x0, y0, x1, y1] of [[-half, 0, half, 0], [-half, -8, -half, 8], [half, -8, half, 8]]) {
    pen.moveTo(x0, y0);
    pen.lineTo(x1, y1);
  }
  pen.stroke();
  pen.restore();
}

async function refresh() {
  try {
    await Promise.all([state(), figures(), models(), planners()]);
  } catch {
    show("state", "the server does not answer");
    byId("state").className = "state bad";
  }
  setTimeout(refresh, PERIOD_MS);
}

byId("try").addEventListener("submit", (event) => plan(event).catch((error) => show("answer", String(error))));
byId("key").addEventListener("submit", (event) => {
  event.preventDefault();
  key = event.target.elements.key.value;
  sessionStorage.setItem("key", key);
});
refresh();
