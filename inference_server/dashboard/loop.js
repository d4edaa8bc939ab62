// The view Loop: what server, workers and trainer do now, the versions, and promoting them by hand.

import { ask, byId, choices, fill, get, series, show } from "./api.js";

const SAMPLES = 120;
const rates = [];
const successes = [];
let last = null;
let cards = {};

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

const duration = (seconds) => (seconds === null ? "–" : seconds >= 1 ? `${seconds.toFixed(1)} s` : `${(seconds * 1e3).toFixed(seconds < 0.01 ? 1 : 0)} ms`);

export async function figures() {
  const now = { time: performance.now(), ...series(await (await ask("metrics")).text()) };
  if (last) {
    const seconds = (now.time - last.time) / 1e3;
    const grown = (name, keep) => total(now[name], keep) - total(last[name], keep);
    const batches = grown("grasp_batch_size_count");
    rates.push(grown("grasp_requests_total", planning) / seconds);
    show("rate", rates.at(-1).toFixed(1));
    show("p50", duration(quantile(now.grasp_request_seconds_bucket, last.grasp_request_seconds_bucket, 0.5)));
    show("p95", duration(quantile(now.grasp_request_seconds_bucket, last.grasp_request_seconds_bucket, 0.95)));
    show("batch", batches ? (grown("grasp_batch_size_sum") / batches).toFixed(1) : "–");
    show("refused", (grown("grasp_rejected_total") / seconds).toFixed(1));
    line("history", rates, Math.max(1, ...rates));
  }
  show("queue", total(now.grasp_queue_depth));
  show("memory", `${(total(now.process_resident_memory_bytes) / 2 ** 20).toFixed(0)} MiB`);
  last = now;
}

function svg(name, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function line(id, values, most) {
  values.splice(0, values.length - SAMPLES);
  const points = values.map((value, index) => `${600 - (values.length - 1 - index) * (600 / SAMPLES)},${58 - (56 * value) / most}`);
  byId(id).replaceChildren(svg("polyline", { points: points.join(" ") }));
}

const percent = (share) => (share == null ? "–" : `${(100 * share).toFixed(0)} %`);
// Of a card: what the loop's trials found, or, of a model as it ships, the referee's row for piles or its first one.
function simulated(card) {
  const { protocols = {}, ...found } = card?.simulated ?? {};
  const rows = Object.entries(protocols);
  const [, row] = rows.find(([name]) => name.startsWith("pile-standard")) ?? rows[0] ?? [];
  return found.rate == null ? row : found;
}
const with_interval = ({ rate, low, high } = {}) => (rate == null ? null : `${percent(rate)} (${percent(low)} to ${percent(high)})`);

export async function loop() {
  const state = await get("loop");
  const workers = Object.entries(state.workers);
  const trainers = Object.values(state.trainers);
  const sum = (rows, name) => rows.reduce((all, row) => all + (Number(row[name]) || 0), 0);
  const rows = workers.map(([, row]) => row);
  const [tried, held] = [sum(rows, "recent_attempts"), sum(rows, "recent_successes")];
  show("trouble", state.trouble);
  show("workers-count", workers.length || "none");
  show("attempts", sum(rows, "attempts"));
  show("success-simulated", tried ? `${percent(held / tried)} of ${tried}` : "–");
  show("outcomes", trainers.length ? sum(trainers, "outcomes") : "–");
  show("lag", trainers.length ? sum(trainers, "lag") + sum(rows, "spooled") : "–");
  show("new", trainers.length ? sum(trainers, "new") : "–");
  const said = trainers.map((row) => [row.state, row.note, row.trouble].filter(Boolean).join(": ")).join("; ");
  show("trainer", said || (state.queue ? "none has spoken lately" : "this server has no queue to see it through"));
  if (tried) successes.push(held / tried);
  line("success-history", successes, 1);
  fill("workers", workers.slice(0, 100).map(([name, row]) => [
    name, row.trouble || row.state, row.attempts, row.successes,
    row.recent_attempts ? `${percent(row.recent_successes / row.recent_attempts)} of ${row.recent_attempts}` : null, row.no_plan, row.spooled,
  ]));
  await failures(state.failures);
}

// One picture for each failure, fetched once: with a key, which an <img> of its own would not send.
async function failures(listed) {
  const kept = new Map([...byId("failures").children].map((item) => [item.dataset.id, item]));
  const items = await Promise.all(listed.map((each) => kept.get(each.id) ?? failure(each)));
  for (const [id, item] of kept) if (!listed.some((each) => each.id === id)) URL.revokeObjectURL(item.querySelector("img")?.src);
  if (items.some((item, index) => item !== byId("failures").children[index]) || items.length < kept.size) byId("failures").replaceChildren(...items);
  byId("no-failures").hidden = items.length > 0;
}

async function failure(each) {
  const item = Object.assign(document.createElement("li"), { textContent: "" });
  item.dataset.id = each.id;
  const reply = await ask(`loop/failures/${each.id}`);
  const who = each.simulated ? "simulation" : `robot ${each.source}`;
  const by = each.model ? `${each.model} ${each.version ?? ""}` : each.planner;
  const alt = `${each.failure}, promised ${percent(each.quality)}`;
  if (reply.ok) item.append(Object.assign(document.createElement("img"), { src: URL.createObjectURL(await reply.blob()), alt, width: 160 }));
  item.append(Object.assign(document.createElement("span"), { textContent: `${alt}; ${by}, ${who}, ${new Date(1e3 * each.time).toLocaleTimeString()}` }));
  return item;
}

export async function models() {
  const listed = (await get("models")).models ?? [];
  const entries = await Promise.all(listed.map(({ name }) => get(`models/${name}?limit=40`)));
  cards = Object.fromEntries(entries.map((entry) => [entry.name, entry]));
  const row = (model) => {
    const card = model.cards.find(({ version }) => version === model.serving);
    const candidate = [model.candidate, model.ab_test].filter((part) => part != null).join(": ");
    return [model.name, model.serving, model.champion, candidate || null, model.previous, model.versions.length,
      card?.metrics.ap?.toFixed(3), with_interval(simulated(card)), with_interval(card?.robots ?? undefined)];
  };
  fill("models", entries.map(row));
  const robots = entries.map((model) => model.cards.find(({ version }) => version === model.serving)?.robots).find(Boolean);
  show("success-robots", with_interval(robots) ?? "–");
  choices(byId("of-model"), Object.keys(cards));
  versions();
}

export const versions_of = (name) => cards[name]?.versions ?? [];
export const model_names = () => Object.keys(cards);

// Success of each version as a point with its interval; where a version was not tried, nothing.
function versions() {
  const model = cards[byId("of-model").value];
  if (!model) return;
  choices(byId("admin").elements.version, model.versions.map(String));
  const measured = model.cards.map((card) => ({ version: card.version, ...(simulated(card) ?? card.robots ?? {}) })).filter(({ rate }) => rate != null).reverse();
  const low = Math.min(0.5, ...measured.map((each) => each.low ?? each.rate));
  const y = (share) => 135 - (120 * (share - low)) / (1 - low);
  const x = (index) => 50 + (530 * (index + 0.5)) / Math.max(measured.length, 1);
  const axis = [low, (1 + low) / 2, 1].flatMap((share) => [svg("text", { x: 2, y: y(share) + 4 }, percent(share)), svg("line", { x1: 40, x2: 590, y1: y(share), y2: y(share), opacity: 0.2 })]);
  const points = measured.flatMap(({ version, rate, low, high }, index) => [
    svg("line", { x1: x(index), x2: x(index), y1: y(low ?? rate), y2: y(high ?? rate) }),
    svg("circle", { cx: x(index), cy: y(rate), r: version === model.champion ? 5 : 3 }),
    svg("text", { x: x(index) - 4, y: 152 }, version),
  ]);
  byId("versions").replaceChildren(...axis, ...(points.length ? points : [svg("text", { x: 220, y: 80 }, "no version has been tried in this loop yet")]));
  const decisions = model.cards.flatMap((card) => card.decisions.map((decision) => [card.version, decision])).sort(([, a], [, b]) => String(b.time ?? b.when ?? "").localeCompare(String(a.time ?? a.when ?? "")));
  fill("decisions", decisions.slice(0, 30).map(([version, { time, when, decision, what, ...why }]) => [
    version, time ?? when, decision ?? what ?? why.action,
    Object.entries(why).filter(([, value]) => value !== null && typeof value !== "object").map(([name, value]) => `${name} ${typeof value === "number" ? +value.toFixed(4) : value}`).join(", "),
  ]));
}

export async function planners() {
  const entries = (await get("planners")).planners ?? [];
  const model = (entry) => (entry.model ? `${entry.model} ${entry.version ?? "(none loaded)"}` : null);
  fill("planners", entries.map((entry) => [entry.name, entry.inputs.join(" + "), entry.grippers.join(", "), model(entry), entry.cpu_seconds, entry.description]));
  return entries;
}

async function move(event) {
  event.preventDefault();
  const name = byId("of-model").value;
  const { version, admin } = event.target.elements;
  const action = event.submitter.value;
  const what = action === "promote" ? `make version ${version.value} of ${name} the champion` : `go back to the champion of ${name} before this one`;
  if (!confirm(`${what}?`)) return;
  const path = `models/${name}/${action}${action === "promote" ? `?version=${version.value}` : ""}`;
  const reply = await get(path, { method: "POST", headers: admin.value ? { "X-API-Key": admin.value } : {} });
  show("moved", `version ${reply.serving ?? reply.champion} of ${name} serves`);
  await models();
}

byId("admin").addEventListener("submit", (event) => move(event).catch((error) => show("moved", error.message)));
byId("of-model").addEventListener("change", versions);
