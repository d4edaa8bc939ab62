// Views, keys, and one refresh for all. What the server has not confirmed for a while is shown grey.

import { ask, byId, key_is_refused, show, use_key } from "./api.js";
import { figures, loop, models, planners } from "./loop.js";
import { after_each_plan, refresh_networks } from "./networks.js";
import { after_plan, key_pressed, refresh_choices } from "./plan.js";

const PERIOD_MS = 2000;
const VIEWS = ["plan", "loop", "networks"];

function open_view(name, focus = false) {
  for (const each of VIEWS) {
    const tab = byId(`tab-${each}`);
    byId(each).hidden = each !== name;
    tab.setAttribute("aria-selected", each === name);
    tab.tabIndex = each === name ? 0 : -1;
    if (focus && each === name) tab.focus();
  }
  history.replaceState(null, "", `#${name}`);
}

async function state() {
  const ready = await (await ask("ready")).json();
  const failed = Object.entries(ready.failures).map(([name, reason]) => `${name}: ${reason}`);
  const text = ready.ready ? `ready on ${ready.device}, ${ready.threads} threads` : ready.warm ? "not ready" : "warming up";
  show("state", [text, ...failed, ready.trouble].filter(Boolean).join("; "));
  byId("state").className = `state ${ready.ready && !failed.length && !ready.trouble ? "good" : "bad"}`;
}

async function refresh() {
  try {
    await Promise.all([state(), figures()]);
    try {
      const [entries] = await Promise.all([planners(), models(), loop()]);
      await refresh_choices(entries);
      refresh_networks(entries);
      document.querySelector("main").classList.remove("stale");
    } catch (error) {
      if (!key_is_refused()) throw error;
      show("state", "this server needs an API key");
      byId("state").className = "state bad";
    }
  } catch {
    show("state", "the server does not answer; figures are of before");
    byId("state").className = "state bad";
    document.querySelector("main").classList.add("stale");
  }
  setTimeout(refresh, PERIOD_MS);
}

for (const name of VIEWS) byId(`tab-${name}`).addEventListener("click", () => open_view(name));
document.querySelector(".tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const now = VIEWS.findIndex((name) => !byId(name).hidden);
  open_view(VIEWS[(now + step + VIEWS.length) % VIEWS.length], true);
});
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (VIEWS["123".indexOf(event.key)] && "123".includes(event.key)) open_view(VIEWS[Number(event.key) - 1]);
  else if (!byId("plan").hidden && !event.target.closest(".tabs")) key_pressed(event);
});
byId("key").addEventListener("submit", (event) => {
  event.preventDefault();
  use_key(event.target.elements.key.value);
});
after_plan(after_each_plan);
open_view(VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "plan");
refresh();
