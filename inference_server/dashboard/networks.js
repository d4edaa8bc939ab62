// The view Networks: what a network makes of the last image, and how weights moved between versions.

import { ask, byId, choices, get, save, show } from "./api.js";
import { model_names, versions_of } from "./loop.js";
import { request_body } from "./plan.js";

const look_form = byId("look");
const compare_form = byId("compare");

export function refresh_networks(planners) {
  choices(look_form.elements.planner, planners.filter(({ ready, model }) => ready && model).map(({ name }) => name));
  choices(compare_form.elements.model, model_names());
  refresh_versions();
}

function refresh_versions() {
  const versions = versions_of(compare_form.elements.model.value).map(String);
  for (const name of ["against", "version"]) choices(compare_form.elements[name], versions);
}

const body = () => request_body({ planner: look_form.elements.planner.value, return_heatmap: false, explain: false });

async function look() {
  show("looked", "looking");
  const reply = await get("activations", { method: "POST", body: body() });
  show("looked", `${reply.layers.length} layers of ${reply.model.name} ${reply.model.version}, as ${reply.planner} asks it`);
  byId("layers").replaceChildren(
    ...reply.layers.map((layer) => {
      const figure = document.createElement("figure");
      const text = `${layer.name} (${layer.kind}), ${layer.shape.join(" x ")}, ${layer.least.toPrecision(3)} to ${layer.most.toPrecision(3)}`;
      const image = Object.assign(new Image(), { src: `data:image/png;base64,${layer.png}`, alt: `maps of ${layer.name}` });
      figure.append(Object.assign(document.createElement("figcaption"), { textContent: text }), image);
      return figure;
    }),
  );
}

async function download(type, name) {
  const response = await ask("activations", { method: "POST", body: body(), headers: { Accept: type } });
  if (!response.ok) throw new Error((await response.json()).error.message);
  save(name, await response.blob());
}

async function compare() {
  const { model, against, version } = compare_form.elements;
  const { changes } = await get(`models/${model.value}/changes?version=${version.value}&against=${against.value}`);
  const most = Math.max(1e-9, ...Object.values(changes));
  byId("changes").replaceChildren(
    ...Object.entries(changes).map(([name, share]) => {
      const row = Object.assign(document.createElement("div"), { className: "bar" });
      const bar = document.createElement("i");
      bar.style.width = `${(100 * share) / most}%`;
      row.append(Object.assign(document.createElement("span"), { textContent: name }), bar, Object.assign(document.createElement("span"), { textContent: `${(100 * share).toFixed(1)} %` }));
      return row;
    }),
  );
}

const told = (action) => action().catch((error) => show("looked", error.message));

export function after_each_plan() {
  if (look_form.elements.live.checked) told(look);
}

compare_form.elements.model.addEventListener("change", refresh_versions);
look_form.addEventListener("submit", (event) => (event.preventDefault(), told(look)));
byId("layers-png").addEventListener("click", () => told(() => download("image/png", "layers.png")));
byId("layers-gif").addEventListener("click", () => told(() => download("image/gif", "layers.gif")));
compare_form.addEventListener("submit", (event) => (event.preventDefault(), told(compare)));
