// Numbers and states as text.

const digits = (value) => value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);

export function milliseconds(ms) {
  if (ms < 1) return `${digits(ms * 1000)} µs`;
  if (ms < 1000) return `${digits(ms)} ms`;
  return `${digits(ms / 1000)} s`;
}

export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit + 1 < units.length) {
    count /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${count} B` : `${digits(count)} ${units[unit]}`;
}

export const rate = (value) => (value === null ? "–" : `${digits(value)} frames/s`);

export const size = (layout) => (layout ? `${layout.width}×${layout.height} ${layout.format}` : "no frames yet");

export const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

export const state = (channel) =>
  channel.stalled_ns === null
    ? channel.state.replace("_", " ")
    : `stalled, no frame for ${milliseconds(channel.stalled_ns / 1e6)}`;

export function link(link) {
  const up = !link.connected ? "not connected" : link.live ? "connected" : "connected, no publisher there";
  const trip = link.round_trip_ns ? `, round trip ${milliseconds(link.round_trip_ns / 1e6)}` : "";
  return `${link.peer}, ${up}${trip}, ${link.missed} missed`;
}

export function source(source) {
  return source.state === "receiving"
    ? `${source.name}, receiving`
    : `${source.name}, reconnecting: ${source.reason ?? "unknown"}`;
}
