// The WebSocket of the page: reconnects, asks for the pictures that are visible, and acknowledges them.

const RETRY_MS = [250, 500, 1000, 2000, 5000];

export class Feed {
  constructor(handlers) {
    this.handlers = handlers;
    this.wanted = new Map();
    this.attempts = 0;
    this.clockOffsetMs = 0;
    this.shortestTripMs = Infinity;
    this.socket = null;
    // A hidden page has no connection, and costs nothing.
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
    if (!document.hidden) this.open();
  }

  open() {
    clearTimeout(this.timer);
    if (this.socket || document.hidden) return;
    const address = new URL("/ws", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => {
      this.attempts = 0;
      this.shortestTripMs = Infinity;
      this.handlers.state("connected");
      this.sendWanted();
      this.send({ type: "clock", sent: performance.now() });
    };
    socket.onmessage = (event) => this.receive(event.data);
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.socket = null;
      this.handlers.state("reconnecting");
      const wait = RETRY_MS[Math.min(this.attempts, RETRY_MS.length - 1)];
      this.attempts += 1;
      this.timer = setTimeout(() => this.check(), wait);
    };
  }

  // Finds out why the socket was closed: the browser does not say.
  async check() {
    if (document.hidden) return;
    try {
      const response = await fetch("/api/channels");
      if (response.status === 401) return this.handlers.state("locked");
    } catch {
      // Not reachable. The next attempt shows.
    }
    this.open();
  }

  close() {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    if (socket) socket.close();
  }

  send(message) {
    if (this.socket && this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  // Asks for pictures of a channel, "tile" or "full". null ends them.
  want(channel, size) {
    if ((this.wanted.get(channel) ?? null) === size) return;
    if (size) this.wanted.set(channel, size);
    else this.wanted.delete(channel);
    if (this.pending) return;
    this.pending = true;
    queueMicrotask(() => {
      this.pending = false;
      this.sendWanted();
    });
  }

  sendWanted() {
    this.send({ type: "watch", channels: Object.fromEntries([...this.wanted].slice(0, 128)) });
  }

  receive(data) {
    if (typeof data === "string") return this.receiveText(JSON.parse(data));
    const length = new DataView(data).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    const jpeg = new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" });
    const acknowledge = () => {
      const { channel, size, sequence } = head;
      this.send({ type: "ack", channel, size, sequence });
    };
    this.handlers.picture(head, jpeg).then(acknowledge, acknowledge);
  }

  receiveText(message) {
    if (message.type === "channels") {
      this.handlers.channels(message);
      this.send({ type: "clock", sent: performance.now() });
    } else if (message.type === "clock") {
      const trip = performance.now() - message.sent;
      // The exchange with the shortest trip says most about the other clock.
      if (trip <= this.shortestTripMs) {
        this.shortestTripMs = trip;
        this.clockOffsetMs = message.now_ns / 1e6 - (Date.now() - trip / 2);
      }
    }
  }

  // Milliseconds since a time of the server's clock.
  sinceMs(ns) {
    return Date.now() + this.clockOffsetMs - ns / 1e6;
  }
}
