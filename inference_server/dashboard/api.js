// The server's endpoints: one key for all, and what came of a request as a value or an Error with the server's own words.

let key = sessionStorage.getItem("key") ?? "";
let refused = false;

export function use_key(value) {
  key = value;
  sessionStorage.setItem("key", key);
}

export const key_is_refused = () => refused;

// Response of any status. The key counts as refused until a request that needs one is let in.
export async function ask(path, options = {}) {
  const headers = { ...(key && { "X-API-Key": key }), ...options.headers };
  const response = await fetch(path, { ...options, headers });
  const open = /^(live|ready|metrics)$/.test(path);
  if (!open && !options.headers?.["X-API-Key"]) {
    refused = response.status === 401 || (response.status === 403 && (await response.clone().json().catch(() => ({}))).error?.code === "invalid_api_key");
    document.getElementById("key").hidden = !refused;
  }
  return response;
}

// Body of a reply that must be well; throws what the server says otherwise.
export async function get(path, options) {
  const response = await ask(path, options);
  const reply = await response.json();
  if (!response.ok && reply.error) throw new Error(reply.error.message);
  return reply;
}

// Prometheus text to {name: [{labels, value}]}.
export function series(text) {
  const found = {};
  for (const line of text.split("\n")) {
    const parts = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!parts) continue;
    const labels = Object.fromEntries([...(parts[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map((m) => [m[1], m[2]]));
    (found[parts[1]] ??= []).push({ labels, value: Number(parts[3]) });
  }
  return found;
}

export const byId = (id) => document.getElementById(id);
export const show = (id, text) => (byId(id).textContent = text);

export function fill(id, rows) {
  byId(id).tBodies[0].replaceChildren(
    ...rows.map((cells) => {
      const row = document.createElement("tr");
      row.append(...cells.map((cell) => Object.assign(document.createElement("td"), { textContent: cell ?? "–" })));
      return row;
    }),
  );
}

export function chips(id, entries) {
  byId(id).replaceChildren(
    ...entries.map(([name, value]) => {
      const pair = document.createElement("div");
      pair.append(Object.assign(document.createElement("dt"), { textContent: name }), Object.assign(document.createElement("dd"), { textContent: value }));
      return pair;
    }),
  );
}

// Options of a select, keeping what is chosen while it is there.
export function choices(select, names, values = names) {
  const chosen = select.value;
  if ([...select.options].map((option) => option.value).join() !== values.map(String).join()) {
    select.replaceChildren(...names.map((name, index) => new Option(name, values[index])));
    if (values.map(String).includes(chosen)) select.value = chosen;
  }
}

export function save(name, blob) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1e4);
}
