// A picture with its boxes: one canvas for each.

const COLORS = ["#ffd60a", "#64d2ff", "#ff9f0a", "#30d158", "#ff6482", "#bf9cff", "#66d4cf", "#ffffff"];

export class Picture {
  constructor(parent) {
    this.picture = document.createElement("canvas");
    this.overlay = document.createElement("canvas");
    this.note = document.createElement("p");
    this.note.className = "note";
    this.note.hidden = true;
    this.picture.setAttribute("role", "img");
    this.overlay.setAttribute("aria-hidden", "true");
    parent.append(this.picture, this.overlay, this.note);
    this.head = null;
    this.showBoxes = true;
  }

  describe(text) {
    this.picture.setAttribute("aria-label", text);
  }

  say(text) {
    this.note.textContent = text ?? "";
    this.note.hidden = !text;
  }

  // Draws picture and boxes in the same task, so that they are shown together.
  async draw(head, jpeg) {
    const bitmap = await createImageBitmap(jpeg);
    try {
      if (this.picture.width !== bitmap.width || this.picture.height !== bitmap.height) {
        for (const canvas of [this.picture, this.overlay]) {
          canvas.width = bitmap.width;
          canvas.height = bitmap.height;
        }
        this.picture.parentElement.style.aspectRatio = `${bitmap.width} / ${bitmap.height}`;
      }
      this.picture.getContext("2d").drawImage(bitmap, 0, 0);
    } finally {
      bitmap.close();
    }
    this.head = head;
    this.drawBoxes();
  }

  drawBoxes() {
    const { width, height } = this.overlay;
    const context = this.overlay.getContext("2d");
    context.clearRect(0, 0, width, height);
    const boxes = this.head?.boxes;
    if (!boxes || !this.showBoxes || !boxes.width || !boxes.height) return;
    const [across, down] = [width / boxes.width, height / boxes.height];
    const line = Math.max(1.5, width / 320);
    context.lineWidth = line;
    context.font = `${Math.max(10, Math.round(width / 40))}px system-ui, sans-serif`;
    context.textBaseline = "bottom";
    for (const box of boxes.items) {
      const color = COLORS[(box.track_id || box.class_id) % COLORS.length];
      context.save();
      context.translate((box.x + box.width / 2) * across, (box.y + box.height / 2) * down);
      if (box.rotation) context.rotate(box.rotation);
      const [w, h] = [box.width * across, box.height * down];
      // Dashed: the boxes are of an earlier frame, or the tracker has lost the object.
      context.setLineDash(boxes.matched && !box.lost ? [] : [3 * line, 2 * line]);
      context.strokeStyle = color;
      context.strokeRect(-w / 2, -h / 2, w, h);
      const text = label(box);
      if (text) {
        const textWidth = context.measureText(text).width + 6;
        const size = parseInt(context.font, 10) + 4;
        const top = box.y * down < size ? -h / 2 + size : -h / 2;
        context.fillStyle = "rgb(0 0 0 / 70%)";
        context.fillRect(-w / 2, top - size, textWidth, size);
        context.fillStyle = color;
        context.fillText(text, -w / 2 + 3, top - 1);
      }
      context.restore();
    }
  }
}

function label(box) {
  const parts = [box.label ?? `class ${box.class_id}`];
  if (box.track_id) parts.push(`#${box.track_id}`);
  if (box.score) parts.push(`${Math.round(box.score * 100)} %`);
  return parts.join(" ");
}
