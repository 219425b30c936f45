// The page: tiles of all channels, and the view of one.

import { forget, remember, showDetails } from "./details.js";
import { Feed } from "./socket.js";
import { Picture } from "./tile.js";
import { count, milliseconds, rate, size, state } from "./text.js";

const by = (id) => document.getElementById(id);
const tiles = new Map();
let channels = [];
let directory = "";
let feed = null;
let full = null;
let opened = null;
let returnTo = null;

// Tiles outside the window ask for no pictures.
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const tile = tiles.get(entry.target.dataset.channel);
    if (tile) tile.visible = entry.isIntersecting;
  }
  wantPictures();
}, { rootMargin: "100px" });

function route() {
  const path = decodeURIComponent(location.hash.replace(/^#\/?/, ""));
  return path.startsWith("channels/") ? path.slice("channels/".length) : null;
}

function makeTile(name) {
  const item = document.createElement("li");
  const anchor = document.createElement("a");
  anchor.className = "tile";
  anchor.href = `#/channels/${encodeURI(name)}`;
  const picture = document.createElement("div");
  picture.className = "picture";
  const text = document.createElement("div");
  text.className = "text";
  const title = document.createElement("strong");
  title.textContent = name;
  const mark = document.createElement("span");
  const facts = document.createElement("p");
  facts.className = "facts";
  text.append(title, mark, facts);
  anchor.append(picture, text);
  item.append(anchor);
  item.dataset.channel = name;
  seen.observe(item);
  const shown = new Picture(picture);
  shown.showBoxes = by("show-boxes").checked;
  return { item, anchor, mark, facts, picture: shown, visible: false, latencies: [] };
}

function isShown(channel) {
  return channel.name.toLowerCase().includes(by("search").value.trim().toLowerCase());
}

const hasPicture = (channel) => channel.layout?.format !== "detections" && !["damaged", "no_access"].includes(channel.state);

function wantPictures() {
  if (!feed) return;
  for (const channel of channels) {
    const tile = tiles.get(channel.name);
    const inView = opened === null ? tile?.visible && !tile.item.hidden : opened === channel.name;
    feed.want(channel.name, inView && hasPicture(channel) ? (opened === null ? "tile" : "full") : null);
  }
}

function showChannels(update) {
  channels = update.channels;
  const listed = new Set(channels.map((channel) => channel.name));
  for (const [name, tile] of tiles) {
    if (listed.has(name)) continue;
    seen.unobserve(tile.item);
    tile.item.remove();
    tiles.delete(name);
    feed.want(name, null);
  }
  forget((name) => listed.has(name));
  channels.forEach((channel, index) => {
    let tile = tiles.get(channel.name);
    if (!tile) {
      tile = makeTile(channel.name);
      tiles.set(channel.name, tile);
    }
    const list = by("tiles");
    if (list.children[index] !== tile.item) list.insertBefore(tile.item, list.children[index] ?? null);
    showTile(channel, tile);
  });
  by("connection").textContent = count(channels.length, "channel");
  showEmpty(update.error);
  showOpened();
  wantPictures();
}

function showTile(channel, tile) {
  tile.item.hidden = !isShown(channel);
  tile.mark.className = `state ${channel.stalled_ns === null ? channel.state : "stalled"}`;
  tile.mark.textContent = state(channel);
  const latency = pageLatency(tile);
  remember(channel, latency);
  const facts = [size(channel.layout), rate(channel.frames_per_second), count(channel.subscribers.length, "reader")];
  if (channel.dropped_per_second > 0) facts.push(`${rate(channel.dropped_per_second)} dropped`);
  if (channel.link && !channel.link.connected) facts.push("link not connected");
  if (latency) facts.push(`${milliseconds(latency.p50_ms)} from capture`);
  tile.facts.textContent = facts.join(", ");
  tile.picture.describe(`${channel.name}, ${facts.join(", ")}`);
  tile.picture.say(channel.fault ?? (hasPicture(channel) ? "" : "no picture: this channel carries boxes"));
}

// Percentiles of the second that has passed.
function pageLatency(tile) {
  const sorted = tile.latencies.sort((a, b) => a - b);
  tile.latencies = [];
  if (sorted.length === 0) return null;
  const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
  return { count: sorted.length, p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99), max_ms: sorted.at(-1) };
}

function showEmpty(error) {
  const shown = channels.filter(isShown).length;
  const text = error ?? (channels.length === 0
    ? `No channels${directory}. "framelane publish testsrc cam0" creates one.`
    : shown === 0 ? "No channel has this name." : "");
  by("empty").textContent = text;
  by("empty").hidden = !text || opened !== null;
}

function showOpened() {
  if (opened === null) return;
  const channel = channels.find((channel) => channel.name === opened);
  by("details-note").textContent = channel ? channel.fault ?? "" : "This channel does not exist now.";
  if (channel) {
    showDetails(channel);
    full.describe(`${channel.name}, ${size(channel.layout)}, ${rate(channel.frames_per_second)}`);
  }
}

async function showPicture(head, jpeg) {
  const tile = tiles.get(head.channel);
  const target = head.size === "full" ? (opened === head.channel ? full : null) : tile?.picture;
  if (!target) return;
  await target.draw(head, jpeg);
  if (head.timestamp_ns && tile) tile.latencies.push(Math.max(0, feed.sinceMs(head.timestamp_ns)));
  if (target === full) {
    const { boxes } = head;
    const found = boxes
      ? `, ${boxes.total} boxes ${boxes.matched ? "of this frame" : `of frame ${boxes.sequence}`}`
      : "";
    by("details-note").textContent = `frame ${head.sequence}${found}`;
  }
}

function navigate() {
  const before = opened;
  opened = route();
  by("tiles").hidden = opened !== null;
  by("details").hidden = opened === null;
  by("details-name").textContent = opened ?? "";
  document.title = opened ? `${opened} – framelane` : "framelane";
  by("details-picture").replaceChildren();
  full = opened === null ? null : new Picture(by("details-picture"));
  if (full) full.showBoxes = by("show-boxes").checked;
  if (opened !== null) {
    returnTo = opened;
    by("details-name").focus();
  } else if (before !== null) {
    tiles.get(returnTo)?.anchor.focus();
  }
  showEmpty(null);
  showOpened();
  wantPictures();
}

function setBoxes(shown) {
  by("show-boxes").checked = shown;
  for (const picture of [...[...tiles.values()].map((tile) => tile.picture), full]) {
    if (!picture) continue;
    picture.showBoxes = shown;
    picture.drawBoxes();
  }
}

function setLayout(layout) {
  by("tiles").className = layout;
  by("as-grid").setAttribute("aria-pressed", String(layout === "grid"));
  by("as-list").setAttribute("aria-pressed", String(layout === "list"));
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target instanceof HTMLInputElement && event.target.type !== "checkbox";
  if (event.key === "Escape") {
    if (typing && event.target.value) return;
    location.hash = "#/";
  } else if (typing) {
    return;
  } else if (event.key === "/") {
    event.preventDefault();
    by("search").focus();
  } else if (event.key === "b") {
    setBoxes(!by("show-boxes").checked);
  } else if (event.key === "g") {
    setLayout(by("tiles").className === "grid" ? "list" : "grid");
  }
}

async function logIn(token) {
  const response = await fetch("/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
  by("login-error").textContent = response.ok ? "" : "This is not the token.";
  return response.ok;
}

function lock(locked) {
  by("login").hidden = !locked;
  if (locked) by("token").focus();
}

async function start() {
  const response = await fetch("/api/channels");
  if (response.status === 401) {
    by("connection").textContent = "token required";
    lock(true);
    return;
  }
  lock(false);
  if (response.ok) directory = ` in ${(await response.json()).directory}`;
  feed ??= new Feed({
    channels: showChannels,
    picture: showPicture,
    state: (text) => {
      lock(text === "locked");
      if (text !== "connected") by("connection").textContent = text === "locked" ? "token required" : text;
    },
  });
  feed.open();
}

by("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (await logIn(by("token").value.trim())) {
    by("token").value = "";
    start();
  }
});
by("search").addEventListener("input", () => {
  for (const channel of channels) tiles.get(channel.name).item.hidden = !isShown(channel);
  if (opened !== null) location.hash = "#/";
  showEmpty(null);
  wantPictures();
});
by("show-boxes").addEventListener("change", (event) => setBoxes(event.target.checked));
by("as-grid").addEventListener("click", () => setLayout("grid"));
by("as-list").addEventListener("click", () => setLayout("list"));
addEventListener("keydown", key);
addEventListener("hashchange", navigate);
navigate();
start().catch(() => {
  by("connection").textContent = "the dashboard does not answer";
});
