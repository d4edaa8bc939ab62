// The image with its grasps on a canvas: drawn in order, one of them chosen, a region dragged by mouse or finger.

export class Picture {
  // chosen(rank) and dragged([u0, v0, u1, v1]) are called for what a person does on the canvas; clicked([u, v]) before chosen,
  // which it keeps from being called by answering true.
  constructor(canvas, { chosen, dragged, clicked }) {
    const empty = { base: null, overlay: null, grasps: [], refused: [], pushes: [], selected: 0, region: null, goal: null };
    Object.assign(this, { canvas, chosen, dragged, clicked, ...empty });
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#release(event));
    canvas.addEventListener("pointercancel", () => ((this.start = null), this.draw()));
  }

  // base: ImageBitmap or canvas of the sent image; null empties the picture.
  show(base, grasps = [], overlay = null, refused = [], pushes = []) {
    Object.assign(this, { base, grasps, overlay, refused, pushes, selected: 0 });
    Object.assign(this.canvas, base ? { width: base.width, height: base.height } : { width: 0, height: 0 });
    this.draw();
  }

  select(rank) {
    this.selected = rank;
    this.draw();
  }

  draw() {
    if (!this.base) return;
    const pen = this.canvas.getContext("2d");
    pen.drawImage(this.overlay ?? this.base, 0, 0, this.base.width, this.base.height);
    const line = Math.max(1.5, this.base.width / 400);
    for (const grasp of this.refused) stroke(pen, grasp, null, line, false);
    for (const { obstacle_px } of this.refused) if (obstacle_px) cross(pen, obstacle_px, line);
    [...this.grasps.entries()].reverse().forEach(([rank, grasp]) => rank !== this.selected && stroke(pen, grasp, rank, line, false));
    if (this.grasps[this.selected]) stroke(pen, this.grasps[this.selected], this.selected, line, true);
    [...this.pushes.entries()].reverse().forEach(([rank, push]) => arrow(pen, push, rank ? line : 2.5 * line));
    for (const [box, style] of [[this.region, "#fff"], [this.goal, "#4af"]]) {
      if (!box) continue;
      const [u0, v0, u1, v1] = box;
      Object.assign(pen, { strokeStyle: style, lineWidth: line });
      pen.setLineDash([4 * line, 3 * line]);
      pen.strokeRect(u0, v0, u1 - u0, v1 - v0);
      pen.setLineDash([]);
    }
  }

  // Pixel of the sent image under the pointer; integer values lie at pixel centres.
  #pixel(event) {
    const box = this.canvas.getBoundingClientRect();
    const along = (offset, length, size) => Math.min(size - 1, Math.max(0, (offset / length) * size - 0.5));
    return [along(event.clientX - box.left, box.width, this.canvas.width), along(event.clientY - box.top, box.height, this.canvas.height)];
  }

  #press(event) {
    this.start = this.#pixel(event);
    this.canvas.setPointerCapture(event.pointerId);
  }

  #span(event) {
    const [a, b] = [this.start, this.#pixel(event)];
    return [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])].map(Math.round);
  }

  #move(event) {
    if (!this.start) return;
    this.region = this.#span(event);
    this.draw();
  }

  #release(event) {
    if (!this.start) return;
    const span = this.#span(event);
    if (span[2] - span[0] > 4 && span[3] - span[1] > 4) {
      this.region = span;
      this.dragged(span);
    } else if ((this.region = null) || !this.clicked(this.start.map(Math.round))) {
      const distances = this.grasps.map(({ center_px: [u, v] }) => Math.hypot(u - this.start[0], v - this.start[1]));
      const nearest = distances.indexOf(Math.min(...distances));
      if (nearest >= 0 && distances[nearest] < 0.06 * this.canvas.width) this.chosen(nearest);
    }
    this.start = null;
    this.draw();
  }
}

const REFUSED = "#ff2424";
const colour = (quality, light = 45) => `hsl(${120 * quality} 85% ${light}%)`;

// Where a part of a refused hand meets something.
function cross(pen, [u, v], line) {
  const reach = 2.5 * line;
  pen.beginPath();
  for (const slant of [1, -1]) {
    pen.moveTo(u + 0.5 - reach, v + 0.5 - slant * reach);
    pen.lineTo(u + 0.5 + reach, v + 0.5 + slant * reach);
  }
  Object.assign(pen, { strokeStyle: REFUSED, lineWidth: line });
  pen.stroke();
}

// From where the closed fingers come down to where they go up; blue where nothing is predicted of the push.
function arrow(pen, { start_px, end_px, predicted_quality }, line) {
  const turn = Math.atan2(end_px[1] - start_px[1], end_px[0] - start_px[0]);
  pen.beginPath();
  pen.moveTo(start_px[0] + 0.5, start_px[1] + 0.5);
  pen.lineTo(end_px[0] + 0.5, end_px[1] + 0.5);
  for (const side of [0.5, -0.5]) {
    pen.moveTo(end_px[0] + 0.5 - 5 * line * Math.cos(turn + side), end_px[1] + 0.5 - 5 * line * Math.sin(turn + side));
    pen.lineTo(end_px[0] + 0.5, end_px[1] + 0.5);
  }
  for (const [style, width] of [["#0009", line + 3], [predicted_quality == null ? "#4af" : colour(predicted_quality), line]]) {
    Object.assign(pen, { strokeStyle: style, lineWidth: width });
    pen.stroke();
  }
}

// rank: of a grasp, which is numbered; null for a refused one.
function stroke(pen, grasp, rank, line, selected) {
  const [u, v] = grasp.center_px;
  const half = (grasp.width_px ?? 30) / 2;
  const plate = Math.max(4, half / 3);
  pen.save();
  pen.translate(u + 0.5, v + 0.5);
  pen.rotate(grasp.angle);
  pen.beginPath();
  if (grasp.kind === "suction") pen.arc(0, 0, 6 * line, 0, 2 * Math.PI);
  else
    for (const [x0, y0, x1, y1] of [[-half, 0, half, 0], [-half, -plate, -half, plate], [half, -plate, half, plate]]) {
      pen.moveTo(x0, y0);
      pen.lineTo(x1, y1);
    }
  for (const [style, width] of [["#0009", line + 3], [selected ? "#fff" : rank === null ? REFUSED : colour(grasp.quality), selected ? line * 2 : line]]) {
    Object.assign(pen, { strokeStyle: style, lineWidth: width });
    pen.stroke();
  }
  pen.restore();
  if (rank !== null && (rank < 10 || selected)) {
    Object.assign(pen, { font: `600 ${9 * line}px system-ui`, lineWidth: 3 * line, strokeStyle: "#000c", fillStyle: "#fff" });
    pen.strokeText(rank + 1, u + 3 * line, v - 3 * line);
    pen.fillText(rank + 1, u + 3 * line, v - 3 * line);
  }
}
