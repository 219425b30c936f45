// The view of one channel: facts, latencies over time, readers.

import { bytes, count, link, milliseconds, rate, size, source, state } from "./text.js";

const POINTS = 120;
const HOPS = [
  ["capture_to_publish", "Capture to publication"],
  ["publish_to_receive", "Publication to this dashboard"],
  ["publish_to_boxes", "Publication to boxes"],
  ["capture_to_page", "Capture to this page"],
];
const LINES = ["p50", "p90", "p99"];
const SVG = "http://www.w3.org/2000/svg";

const history = new Map();

// Keeps the latencies of a channel, of which the page gets one set a second.
export function remember(channel, page) {
  const points = history.get(channel.name) ?? [];
  points.push({ ...channel.latency, capture_to_page: page });
  if (points.length > POINTS) points.shift();
  history.set(channel.name, points);
}

export function forget(isListed) {
  for (const name of history.keys()) if (!isListed(name)) history.delete(name);
}

export function showDetails(channel) {
  const facts = [
    ["State", state(channel) + (channel.damage ? `: ${channel.damage}` : "")],
    ["Frames", `${size(channel.layout)}, ${rate(channel.frames_per_second)}, sequence ${channel.sequence}`],
    ["Newest frame", channel.newest_age_ns === null ? "none" : `${milliseconds(channel.newest_age_ns / 1e6)} old`],
    ["Dropped", `${channel.dropped}${channel.dropped_per_second ? `, ${rate(channel.dropped_per_second)}` : ""}`],
    ["Slots", `${channel.slots}, ${channel.held_slots} held, backpressure ${channel.backpressure}`],
    ["Memory", bytes(channel.memory_bytes)],
    ["Publisher", `process ${channel.publisher_pid}, epoch ${channel.epoch}`],
  ];
  if (channel.link) facts.push(["Link", link(channel.link)]);
  if (channel.source) facts.push(["Source", source(channel.source)]);
  for (const holder of channel.holders) {
    facts.push(["Holds slots", `process ${holder.pid}${holder.name ? ` (${holder.name})` : ""}: ${holder.slots}`]);
  }
  const list = document.getElementById("facts");
  list.replaceChildren(...facts.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  showReaders(channel);
  showPlots(history.get(channel.name) ?? []);
}

function showReaders(channel) {
  const rows = channel.subscribers.map((reader) => {
    const behind = Math.max(0, channel.sequence - reader.cursor);
    const cells = [reader.pid, reader.delivery, reader.cursor, behind, reader.leases, reader.received, reader.dropped];
    const row = document.createElement("tr");
    row.append(...cells.map((cell) => element("td", String(cell))));
    return row;
  });
  if (rows.length === 0) {
    const row = document.createElement("tr");
    const cell = element("td", "no readers");
    cell.colSpan = 7;
    row.append(cell);
    rows.push(row);
  }
  document.getElementById("readers").replaceChildren(...rows);
}

function showPlots(points) {
  const figures = HOPS.map(([hop, name]) => {
    const values = points.map((point) => point[hop]).filter(Boolean);
    return values.length > 0 ? figure(name, points.map((point) => point[hop])) : null;
  }).filter(Boolean);
  const none = element("p", "No frames were received yet.");
  document.getElementById("plots").replaceChildren(...(figures.length > 0 ? figures : [none]));
}

function figure(name, points) {
  const newest = points.findLast(Boolean);
  const top = Math.max(...points.filter(Boolean).map((point) => point.p99_ms), 0.001);
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", `0 0 ${POINTS - 1} 100`);
  drawing.setAttribute("preserveAspectRatio", "none");
  drawing.setAttribute("aria-hidden", "true");
  for (const line of LINES) {
    const polyline = document.createElementNS(SVG, "polyline");
    const first = POINTS - points.length;
    const places = points.map((point, index) =>
      point ? `${first + index},${98 - (95 * point[`${line}_ms`]) / top}` : null,
    );
    polyline.setAttribute("points", places.filter(Boolean).join(" "));
    polyline.setAttribute("class", line);
    drawing.append(polyline);
  }
  const values = LINES.map((line) => `${line} ${milliseconds(newest[`${line}_ms`])}`).join(", ");
  const caption = element("figcaption", `${name}: ${values}. Highest p99 ${milliseconds(top)} in ${count(points.length, "second")}.`);
  const result = document.createElement("figure");
  result.append(drawing, caption);
  return result;
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
