// Depth files that a browser does not read by itself: 16-bit PNG and NPY.

// Depth of a file in metres, {width, height, metres: Float32Array with 0 for no reading}; null for what is not read here.
export async function read_depth(file, scale = 0.001) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const found = bytes[0] === 0x89 ? await read_png16(bytes) : bytes[0] === 0x93 ? read_npy(bytes) : null;
  if (!found) return null;
  const factor = found.values instanceof Float32Array || found.values instanceof Float64Array ? 1 : scale;
  const metres = Float32Array.from(found.values, (value) => (Number.isFinite(value) && value > 0 ? value * factor : 0));
  return { width: found.width, height: found.height, metres };
}

const NPY = { u1: Uint8Array, u2: Uint16Array, i2: Int16Array, u4: Uint32Array, i4: Int32Array, f4: Float32Array, f8: Float64Array };

function read_npy(bytes) {
  const view = new DataView(bytes.buffer);
  const long = bytes[6] > 1;
  const start = (long ? 12 : 10) + (long ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder("latin1").decode(bytes.subarray(10, start));
  const dtype = /'descr': *'([<|])(\w\d)'/.exec(header);
  const shape = /'shape': *\((\d+), *(\d+)(?:, *1)?,?\)/.exec(header);
  const kind = NPY[dtype?.[2]];
  if (!kind || !shape || /'fortran_order': *True/.test(header)) return null;
  const [height, width] = [Number(shape[1]), Number(shape[2])];
  return { width, height, values: new kind(bytes.slice(start).buffer, 0, width * height) };
}

async function read_png16(bytes) {
  const view = new DataView(bytes.buffer);
  const [width, height, bits, colour, interlace] = [view.getUint32(16), view.getUint32(20), bytes[24], bytes[25], bytes[28]];
  if (bits !== 16 || colour !== 0 || interlace) return null;
  const parts = [];
  for (let at = 8; at + 8 < bytes.length; ) {
    const length = view.getUint32(at);
    if (view.getUint32(at + 4) === 0x49444154) parts.push(bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const lines = new Uint8Array(await new Response(stream).arrayBuffer());
  return { width, height, values: unfiltered(lines, width, height) };
}

// Undoes the line filters of PNG (section 9 of its specification) for pixels of two bytes.
function unfiltered(lines, width, height) {
  const stride = 2 * width;
  let before = new Uint8Array(stride);
  const values = new Uint16Array(width * height);
  for (let row = 0; row < height; row++) {
    const filter = lines[row * (stride + 1)];
    const line = lines.subarray(row * (stride + 1) + 1, (row + 1) * (stride + 1));
    for (let i = 0; i < stride; i++) {
      const left = i > 1 ? line[i - 2] : 0;
      const up = before[i];
      const corner = i > 1 ? before[i - 2] : 0;
      if (filter === 1) line[i] += left;
      else if (filter === 2) line[i] += up;
      else if (filter === 3) line[i] += (left + up) >> 1;
      else if (filter === 4) {
        const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
        line[i] += a <= b && a <= c ? left : b <= c ? up : corner;
      }
    }
    for (let column = 0; column < width; column++) values[row * width + column] = (line[2 * column] << 8) | line[2 * column + 1];
    before = line;
  }
  return values;
}

// A depth image as a picture: near is light, no reading is black.
export function depth_picture({ width, height, metres }) {
  const known = Float32Array.from(metres.filter((value) => value > 0)).sort();
  const [near, far] = [known[Math.floor(0.01 * known.length)] ?? 0, known[Math.floor(0.99 * (known.length - 1))] ?? 1];
  const picture = new ImageData(width, height);
  metres.forEach((value, index) => {
    const share = Math.min(1, Math.max(0, (value - near) / Math.max(far - near, 1e-6)));
    const colour = value > 0 ? [235 - 190 * share, 232 - 165 * share, 222 - 105 * share] : [12, 12, 14];
    picture.data.set([...colour, 255], 4 * index);
  });
  return picture;
}
