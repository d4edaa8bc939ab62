// Drives the dashboard as a person does, in Chromium: `node actions.mjs URL PICTURES CHROMIUM VIEW`, VIEW a page of `predict --view`. Prints one JSON object: what each
// check found, what the console said, what axe found, and times in milliseconds.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [url, pictures, executablePath, view] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"] });
const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true, bypassCSP: false });
const page = await context.newPage();
const found = { checks: {}, console: [], axe: {}, times: {} };
page.on("console", (message) => message.type() === "error" && found.console.push(message.text()));
page.on("pageerror", (error) => found.console.push(String(error)));
page.on("dialog", (dialog) => dialog.accept());

const text = (selector) => page.locator(selector).innerText();
const rows = (id) => page.locator(`#${id} tbody tr`).count();

async function check(name, action) {
  try {
    const value = await action();
    found.checks[name] = value === undefined || value === true ? "ok" : `failed: ${value}`;
  } catch (error) {
    found.checks[name] = `failed: ${String(error).slice(0, 400)}`;
  }
}

async function accessible(view) {
  // The page's policy lets no script in but its own: axe runs in the isolated world of the debugger.
  const session = await context.newCDPSession(page);
  const { frameTree } = await session.send("Page.getFrameTree");
  const { executionContextId: contextId } = await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id });
  await session.send("Runtime.evaluate", { expression: axe, contextId });
  const expression = "axe.run(document, {resultTypes: ['violations']}).then((r) => JSON.stringify(r.violations.map((v) => [v.impact, v.id, v.nodes.length, v.nodes[0].target.join(' ')])))";
  const { result } = await session.send("Runtime.evaluate", { expression, contextId, awaitPromise: true });
  found.axe[view] = JSON.parse(result.value);
  await session.detach();
}

async function downloaded(button) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click(button)]);
  return readFileSync(await download.path());
}

await page.goto(url);
found.times.first_paint = await page.evaluate(
  () => new Promise((done) => new PerformanceObserver((list) => done(list.getEntries()[0].startTime)).observe({ type: "paint", buffered: true })),
);
await page.waitForSelector("#state.good");

await check("a plan without an image says what to do", async () => {
  await page.click("#go");
  return (await text("#answer")).includes("pick or drop");
});
await check("the example is planned and drawn", async () => {
  await page.click("#example");
  await page.waitForSelector("#grasps tbody tr");
  return (await rows("grasps")) > 0 && (await page.evaluate(() => document.getElementById("picture").width)) === 320;
});
await page.screenshot({ path: `${pictures}/plan.png` });
await accessible("plan");
await check("refused grasps are told and drawn in red on request", async () => {
  await page.check("[name=explain]");
  await page.click("#go");
  await page.waitForSelector("#refused-grasps tbody tr");
  const red = await page.evaluate(() => {
    const canvas = document.getElementById("picture");
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let count = 0;
    for (let i = 0; i < pixels.length; i += 4) count += pixels[i] > 230 && pixels[i + 1] < 70 && pixels[i + 2] < 70;
    return count;
  });
  await page.screenshot({ path: `${pictures}/refused.png` });
  await page.uncheck("[name=explain]");
  return red > 20 && (await rows("refused-grasps")) <= 10;
});
await check("arrow keys choose the next grasp", async () => {
  await page.focus("#picture");
  await page.keyboard.press("ArrowDown");
  return (await page.locator("#grasps tbody tr").nth(1).getAttribute("aria-selected")) === "true";
});
await check("a click on a row chooses its grasp", async () => {
  await page.locator("#grasps tbody tr").nth(0).click();
  return (await page.locator("#grasps tbody tr").nth(0).getAttribute("aria-selected")) === "true";
});
await check("three dimensions are drawn", async () => {
  await page.click("#show3d");
  await page.waitForSelector("#space canvas");
  await page.waitForTimeout(500);
  const drawn = await page.evaluate(() => {
    const canvas = document.querySelector("#space canvas");
    const copy = new OffscreenCanvas(canvas.width, canvas.height);
    const pen = copy.getContext("2d");
    pen.drawImage(canvas, 0, 0);
    return new Set(new Uint32Array(pen.getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size;
  });
  return drawn > 50 || `${drawn} colours`;
});
await page.screenshot({ path: `${pictures}/space.png`, fullPage: true });
await check("GLB and PLY hold cloud and hands", async () => {
  const glb = await downloaded("#save-glb");
  const ply = (await downloaded("#save-ply")).toString();
  return glb.subarray(0, 4).toString() === "glTF" && glb.length > 1e5 && /element vertex \d{4,}/.test(ply) && !/element face 0/.test(ply);
});
await check("PNG and JSON are saved", async () => {
  const png = await downloaded("#save-png");
  const json = JSON.parse(await downloaded("#save-json"));
  return png.subarray(1, 4).toString() === "PNG" && json.grasps.length > 0;
});
await check("a thing that is clicked is all that is grasped", async () => {
  await page.check("[name=marking]");
  await page.click("#grasps tbody tr");
  const [u, v] = (await page.locator("#grasps tbody tr").first().locator("td").nth(2).innerText()).split(",").map(Number);
  const box = await page.locator("#picture").boundingBox();
  await page.mouse.click(box.x + (u + 0.5) * (box.width / 320), box.y + (v + 0.5) * (box.height / 240));
  const point = (await page.inputValue("[name=point]")).split(",").map(Number);
  if (Math.hypot(point[0] - u, point[1] - v) > 2) return `point ${point}, expected ${[u, v]}`;
  await page.click("#go");
  await page.waitForSelector("#plan:not(.busy) #rejections dt:has-text('not_goal')");
  return (await rows("grasps")) > 0;
});
await check("what next tells an action and draws it", async () => {
  await page.click("#act");
  await page.waitForFunction(() => /^(grasp|push|clear|none): /.test(document.getElementById("answer").textContent));
  const box = await page.locator("#picture").boundingBox();
  await page.mouse.move(box.x + 0.4 * box.width, box.y + 0.4 * box.height);
  await page.mouse.down();
  await page.mouse.move(box.x + 0.6 * box.width, box.y + 0.6 * box.height, { steps: 3 });
  await page.mouse.up();
  await page.click("#act");
  await page.waitForSelector("#plan:not(.busy)");
  await page.screenshot({ path: `${pictures}/action.png` });
  const told = await text("#answer");
  await page.click("#unmark");
  await page.uncheck("[name=marking]");
  return /^(grasp|push|clear|none): /.test(told) || told;
});
await check("a region dragged on the picture holds the grasps", async () => {
  const box = await page.locator("#picture").boundingBox();
  await page.mouse.move(box.x + box.width * 0.2, box.y + box.height * 0.2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + box.height * 0.8, { steps: 4 });
  await page.mouse.up();
  const [u0, v0, u1, v1] = (await page.inputValue("[name=region]")).split(",").map(Number);
  const [reply] = await Promise.all([page.waitForResponse("**/predict_grasp"), page.click("#go")]);
  const { grasps } = await reply.json();
  await page.waitForFunction(() => !document.getElementById("go").disabled);
  await page.click("#clear");
  return u1 - u0 > 50 && grasps.every(({ center_px: [u, v] }) => u >= u0 && u <= u1 && v >= v0 && v <= v1);
});
await check("a wrong number is named, and the old picture fades", async () => {
  const before = await page.inputValue("#ask [name=fx]");
  await page.fill("#ask [name=fx]", "abc");
  await page.click("#go");
  const told = (await text("#answer")).includes("fx");
  const faded = await page.evaluate(() => document.getElementById("plan").classList.contains("failed"));
  await page.fill("#ask [name=fx]", before);
  return told && faded;
});
await check("a dropped file of 640 x 480 is planned on and shown", async () => {
  const width = 640;
  const height = 480;
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${height}, ${width}), }`.padEnd(117) + "\n";
  await page.evaluate(
    ([width, height, header]) => {
      const depth = new Float32Array(width * height).fill(0.7);
      for (let row = 184; row < 296; row++) depth.fill(0.65, row * width + 302, row * width + 340);
      const head = new Uint8Array([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, 118, 0, ...new TextEncoder().encode(header)]);
      const data = new DataTransfer();
      data.items.add(new File([head, depth], "depth.npy"));
      window.dropped = performance.now();
      document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
    },
    [width, height, header],
  );
  await page.waitForFunction(() => document.getElementById("picture").width === 640 && /grasps by/.test(document.getElementById("answer").textContent));
  found.times.shown_beyond_server = await page.evaluate(() => Number(/shown (\d+) ms later/.exec(document.getElementById("answer").textContent)[1]));
  return (await rows("grasps")) > 0;
});
await check("the key 2 opens the loop, with models and planners", async () => {
  await page.locator("h1").click();
  await page.keyboard.press("2");
  await page.waitForSelector("#models tbody tr");
  await page.waitForFunction(() => document.getElementById("rate").textContent !== "–");
  return (await page.isVisible("#loop")) && (await rows("planners")) > 3;
});
await check("a failed grasp is shown with its picture", async () => {
  await page.waitForSelector("#failures li img");
  const width = await page.locator("#failures li img").first().evaluate((picture) => picture.decode().then(() => picture.naturalWidth));
  return width > 50 && (await text("#failures li")).includes("promised 83 %");
});
await page.screenshot({ path: `${pictures}/loop.png`, fullPage: true });
await accessible("loop");
await check("a version is promoted after a question", async () => {
  await page.selectOption("#of-model", "dense");
  await page.fill("#admin [name=admin]", "of-the-operator");
  await page.click("#admin [value=promote]");
  await page.waitForFunction(() => document.getElementById("moved").textContent !== "");
  return (await text("#moved")).includes("serves") || (await text("#moved"));
});
await check("the key 3 opens the networks, which show their layers", async () => {
  await page.locator("h1").click();
  await page.keyboard.press("3");
  await page.selectOption("#look [name=planner]", "dense");
  await page.click("#look .main");
  await page.waitForSelector("#layers img");
  return (await page.locator("#layers img").count()) > 4;
});
await page.screenshot({ path: `${pictures}/networks.png`, fullPage: true });
await accessible("networks");
await check("layers are saved as PNG and GIF", async () => {
  const png = await downloaded("#layers-png");
  const gif = await downloaded("#layers-gif");
  return png.subarray(1, 4).toString() === "PNG" && gif.subarray(0, 3).toString() === "GIF";
});
await check("weights of two versions are compared", async () => {
  await page.selectOption("#compare [name=model]", "dense");
  await page.click("#compare button");
  await page.waitForSelector("#changes .bar");
  return (await page.locator("#changes .bar").count()) > 5;
});
await check("the interface can be read without the Internet", async () => {
  const docs = await context.newPage();
  await docs.goto(`${url}/docs`);
  await docs.waitForSelector(".opblock");
  const many = (await docs.locator(".opblock").count()) > 15;
  await docs.close();
  return many;
});
await check("a page of the command line shows cloud and hands", async () => {
  const file = await context.newPage();
  const errors = [];
  file.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  file.on("pageerror", (error) => errors.push(String(error)));
  await file.goto(`file://${view}`);
  await file.waitForSelector("#space canvas");
  await file.keyboard.press("ArrowDown");
  const chosen = await file.locator("#grasps button").nth(1).getAttribute("aria-pressed");
  await file.screenshot({ path: `${pictures}/view.png` });
  await file.close();
  return (chosen === "true" && !errors.length) || `${chosen} ${errors.join()}`;
});
await check("a phone sees the form at once", async () => {
  await page.setViewportSize({ width: 390, height: 800 });
  await page.click("#tab-plan");
  const box = await page.locator("#drop").boundingBox();
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  return (box.y < 400 && overflow <= 0) || `the form begins at ${box.y}, ${overflow} px too wide`;
});
await page.screenshot({ path: `${pictures}/phone.png` });
await check("figures turn grey when the server is away", async () => {
  found.console_before_outage = found.console.length;
  await page.route("**/*", (route) => route.abort());
  await page.waitForSelector("main.stale", { timeout: 15000 });
});
found.console.splice(found.console_before_outage);
await browser.close();
console.log(JSON.stringify(found));
