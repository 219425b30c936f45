// The dashboard in a real browser. usage: node test.mjs FRAMELANE PYTHON CHROMIUM SCREENSHOTS
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";

import { chromium } from "playwright-core";

const [framelane, python, executablePath, screenshots] = process.env.FRAMELANE_BROWSER_TEST.split("\n");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const detector = fileURLToPath(new URL("detect.py", import.meta.url));
// On the file system of the channels.
const directory = mkdtempSync("/dev/shm/framelane-test-");
const running = new Set();
const WAIT_MS = 60_000;
// Red, green and blue of the bars of the test pattern, from left to right.
const BARS = [[191, 191, 191], [191, 191, 0], [0, 191, 191], [0, 191, 0], [191, 0, 191], [191, 0, 0], [0, 0, 191]];

let browser;
let url;
let problems = [];

// Starts a command and returns its first event.
async function start(...words) {
  const child = spawn(framelane, [...words, "--json"], {
    env: { ...process.env, FRAMELANE_DIR: directory, FRAMELANE_PYTHON: python },
    stdio: ["ignore", "pipe", "inherit"],
  });
  running.add(child);
  const lines = createInterface({ input: child.stdout });
  const first = await new Promise((resolve, reject) => {
    lines.once("line", (line) => resolve(JSON.parse(line)));
    child.once("exit", (code) => reject(new Error(`${words.join(" ")} ended with ${code}`)));
  });
  return { child, first };
}

async function end(child) {
  if (child.exitCode === null && child.signalCode === null) {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await ended;
  }
  running.delete(child);
}

async function open(path = "", options = {}) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options });
  page.setDefaultTimeout(WAIT_MS);
  page.on("console", (message) => {
    // The tests read pixels, and the page does not.
    if (message.text().includes("Multiple readback operations")) return;
    if (["error", "warning"].includes(message.type())) problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("blob:")) problems.push(request.url());
  });
  await page.goto(url + path);
  return page;
}

const tile = (name) => `li[data-channel="${name}"]`;

// Pixels of the picture of a tile, at places from 0 to 1.
const pixels = (page, canvas, places) =>
  page.locator(canvas).first().evaluate((element, places) => {
    const context = element.getContext("2d");
    return places.map(([x, y]) => [
      ...context.getImageData(Math.floor(x * element.width), Math.floor(y * element.height), 1, 1).data,
    ]);
  }, places);

async function until(condition) {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`waited until ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const isClose = (found, wanted) => wanted.every((level, index) => Math.abs(found[index] - level) <= 12);

// True if the bars have their colours, but for the one that the white bar covers.
async function showsBars(page, canvas) {
  const found = await pixels(page, canvas, BARS.map((_, bar) => [(bar + 0.5) / 8, 0.5]));
  return BARS.filter((color, bar) => !isClose(found[bar], color)).length <= 1;
}

before(async () => {
  browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  await start("publish", "testsrc=640x360@30", "cam0", "--format", "i420");
  url = (await start("dashboard", "--listen", "127.0.0.1:0")).first.url;
});

after(async () => {
  await browser?.close();
  await Promise.all([...running].map(end));
  rmSync(directory, { recursive: true });
});

test("picture moves and has the colours of the pattern", async () => {
  problems = [];
  const page = await open();
  const canvas = `${tile("cam0")} canvas`;
  await until(() => showsBars(page, canvas));
  const whole = () => page.locator(canvas).first().evaluate((element) => element.toDataURL());
  const first = await whole();
  await until(async () => (await whole()) !== first);
  assert.match(await page.locator(`${tile("cam0")} .facts`).innerText(), /640×360 i420/);
  await until(async () => /from capture/.test(await page.locator(`${tile("cam0")} .facts`).innerText()));
  await page.close();
  assert.deepEqual(problems, []);
});

test("boxes are where the objects are", async () => {
  problems = [];
  await start("publish", "testsrc=640x360@15", "boxes", "--format", "bgr8");
  await start("run", "boxes", detector);
  const page = await open("#/channels/boxes");
  const picture = "#details-picture canvas";
  // The left edge of the box on the overlay, and the left edge of the white bar in the picture.
  const edges = () =>
    page.locator("#details-picture").evaluate((element) => {
      const [picture, overlay] = element.querySelectorAll("canvas");
      if (!overlay.width) return null;
      const line = Math.floor(overlay.height * 0.4);
      const row = (canvas) => canvas.getContext("2d").getImageData(0, line, canvas.width, 1).data;
      const [shown, drawn] = [row(picture), row(overlay)];
      const columns = Array.from({ length: overlay.width }, (_, x) => x);
      const white = columns.filter((x) => [0, 1, 2].every((channel) => shown[4 * x + channel] > 235));
      const box = columns.filter((x) => drawn[4 * x + 3] > 128);
      return white.length && box.length ? { bar: [white[0], white.at(-1)], box: [box[0], box.at(-1)] } : null;
    });
  for (let checked = 0; checked < 20; checked += 1) {
    const found = await until(async () => {
      const matched = /of this frame/.test(await page.locator("#details-note").innerText());
      return matched && (await edges());
    });
    // A line is up to 3 pixels wide, and JPEG blurs an edge.
    assert.ok(Math.abs(found.bar[0] - found.box[0]) <= 4, JSON.stringify(found));
    assert.ok(Math.abs(found.bar[1] - found.box[1]) <= 5, JSON.stringify(found));
  }
  assert.ok(await page.locator(picture).first().isVisible());
  await page.keyboard.press("b");
  await until(async () => (await edges()) === null);
  await page.keyboard.press("Escape");
  await page.locator(tile("boxes")).waitFor();
  await page.close();
  assert.deepEqual(problems, []);
});

test("restarted publisher is shown again", async () => {
  problems = [];
  const page = await open();
  let { child } = await start("publish", "testsrc=320x180@30", "restarts");
  const canvas = `${tile("restarts")} canvas`;
  await until(() => showsBars(page, canvas));
  await end(child);
  await page.locator(tile("restarts")).waitFor({ state: "detached" });
  ({ child } = await start("publish", "testsrc=320x180@30", "restarts"));
  await until(() => showsBars(page, canvas));
  await end(child);
  await page.close();
  assert.deepEqual(problems, []);
});

test("16 channels are shown at once, and search finds one", async () => {
  problems = [];
  const names = Array.from({ length: 16 }, (_, index) => `many/cam${index}`);
  const children = await Promise.all(names.map((name) => start("publish", "testsrc=160x90@5", name)));
  const page = await open("", { viewport: { width: 1800, height: 1400 } });
  for (const name of names) await until(() => showsBars(page, `${tile(name)} canvas`));
  await page.screenshot({ path: `${screenshots}/grid.png` });
  await page.keyboard.press("/");
  await page.keyboard.type("cam15");
  await until(async () => (await page.locator("#tiles li:visible").count()) === 1);
  await page.close();
  await Promise.all(children.map(({ child }) => end(child)));
  assert.deepEqual(problems, []);
});

test("hidden tiles and pages without viewers cost nothing", async () => {
  const page = await open();
  await until(() => showsBars(page, `${tile("cam0")} canvas`));
  const readers = async () => {
    const response = await fetch(`${url}api/channels`);
    return (await response.json()).channels.find((channel) => channel.name === "cam0").subscribers.length;
  };
  assert.equal(await readers(), 1);
  await page.locator("#search").fill("no such channel");
  await until(async () => (await readers()) === 0);
  await page.close();
});

for (const [name, options] of [
  ["light", { colorScheme: "light" }],
  ["dark", { colorScheme: "dark" }],
  ["phone", { colorScheme: "light", viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }],
]) {
  test(`axe finds nothing serious, ${name}`, async () => {
    problems = [];
    // axe is added to the page, which its policy forbids to others.
    const page = await open("", { ...options, bypassCSP: true });
    await until(() => showsBars(page, `${tile("cam0")} canvas`));
    await page.screenshot({ path: `${screenshots}/${name}.png`, fullPage: true });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `the page is ${overflow} pixels too wide`);
    const check = async () => {
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run());
      const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
      assert.deepEqual(serious.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), []);
    };
    await check();
    await page.locator(`${tile("cam0")} a`).click();
    await until(async () => (await page.locator("#plots figure").count()) > 0);
    await check();
    await page.screenshot({ path: `${screenshots}/${name}-channel.png`, fullPage: true });
    await page.close();
    assert.deepEqual(problems, []);
  });
}
