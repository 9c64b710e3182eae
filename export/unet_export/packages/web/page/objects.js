// Numbered objects of probabilities 0..255, as unet_data.objects makes them. All values are whole numbers, so that the
// same probabilities give the same objects as in Python. Sizes are [z, y, x]; an image is one plane and `flat`.
const OUT = -(2 ** 31); // the height of a pixel of no object
const UNIT = 256; // probabilities are held in steps of 1/256

// values: V numbers a pixel, class 1 alone or all classes and perhaps the distance. how: the settings, with `ratio`.
// Returns the number of each pixel's object (0: none), and of each object a row {area, sums, low, high, type}.
export function findObjects(values, size, flat, how) {
  const count = size[0] * size[1] * size[2], V = values.length / count;
  const height = heights(values, V, size, flat, how);
  const root = climb(height, size);
  merge(height, root, size, how.ratio);
  return number(values, V, root, size, how);
}

// Calls back with the first pixel of each line along an axis, the step to the next pixel, and the number of pixels.
function eachLine(size, axis, line) {
  const steps = [size[1] * size[2], size[2], 1], [a, b] = [0, 1, 2].filter((other) => other !== axis);
  for (let i = 0; i < size[a]; i++) for (let k = 0; k < size[b]; k++) line(i * steps[a] + k * steps[b], steps[axis], size[axis]);
}

function heights(values, V, size, flat, how) {
  const count = size[0] * size[1] * size[2], [foreground, core] = maps(values, V, count, how);
  const smooth = smoothed(core, size, how.smoothing);
  const without = (map, threshold) => withoutHoles(above(map, Math.ceil(threshold * 255 * UNIT)), size, flat, how.fill_holes);
  const mask = without(smooth, how.core);
  const inside = without(foreground === core ? smooth : smoothed(foreground, size, how.smoothing), how.foreground);
  let level = smooth;
  if (how.method === "distance") level = squaredDistance(mask, size, how.reach, how.steps);
  if (how.method === "predicted") level = smoothed(new Int32Array(count).map((_, i) => values[i * V + V - 1] * UNIT), size, how.smoothing);
  const height = new Int32Array(count).fill(OUT);
  for (let i = 0; i < count; i++) if (mask[i]) height[i] = Math.max(level[i], 1);
  for (let step = 1; step <= how.grow; step++) grow(height, inside, size, step);
  return height;
}

// The probabilities of the foreground and of the core.
function maps(values, V, count, how) {
  const border = how.border ?? null, foreground = new Int32Array(count);
  for (let i = 0; i < count; i++) foreground[i] = (V === 1 ? values[i] : 255 - values[i * V]) * UNIT;
  if (V === 1 || border === null) return [foreground, foreground];
  return [foreground, foreground.map((value, i) => Math.max(value - values[i * V + border] * UNIT, 0))];
}

function above(map, threshold) {
  const mask = new Uint8Array(map.length);
  for (let i = 0; i < map.length; i++) if (map[i] >= threshold) mask[i] = 1;
  return mask;
}

// 1 2 1 along each axis, rounded; the edge pixel is repeated.
function smoothed(map, size, passes) {
  const result = passes ? map.slice() : map;
  for (let pass = 0; pass < passes; pass++) for (let axis = 0; axis < 3; axis++) eachLine(size, axis, (start, step, n) => {
    let before = result[start];
    for (let k = 0, i = start; k < n; k++, i += step) {
      const own = result[i];
      result[i] = (before + 2 * own + (k + 1 < n ? result[i + step] : own) + 2) >> 2;
      before = own;
    }
  });
  return result;
}

// Fills holes of up to `limit` pixels, which hang together across corners. What reaches the image's edge is no hole.
function withoutHoles(mask, size, flat, limit) {
  if (!limit) return mask;
  const [Z, Y, X] = size, seen = mask.slice(), queue = new Int32Array(mask.length);
  for (let first = 0; first < mask.length; first++) {
    if (seen[first]) continue;
    let end = 0, open = false;
    queue[end++] = first;
    seen[first] = 1;
    for (let at = 0; at < end; at++) {
      const x = queue[at] % X, y = Math.floor(queue[at] / X) % Y, z = Math.floor(queue[at] / (X * Y));
      open ||= x === 0 || x === X - 1 || y === 0 || y === Y - 1 || (!flat && (z === 0 || z === Z - 1));
      for (let c = Math.max(z - 1, 0); c <= Math.min(z + 1, Z - 1); c++) for (let b = Math.max(y - 1, 0); b <= Math.min(y + 1, Y - 1); b++) for (let a = Math.max(x - 1, 0); a <= Math.min(x + 1, X - 1); a++) {
        const next = (c * Y + b) * X + a;
        if (!seen[next]) { seen[next] = 1; queue[end++] = next; }
      }
    }
    if (!open && end <= limit) for (let at = 0; at < end; at++) mask[queue[at]] = 1;
  }
  return mask;
}

// To the nearest pixel outside of the mask, up to reach²: along one axis after the other, the lower envelope of parabolas.
function squaredDistance(mask, size, reach, steps) {
  const cap = reach * reach, result = new Int32Array(mask);
  for (let i = 0; i < result.length; i++) result[i] *= cap;
  for (let axis = 0; axis < 3; axis++) {
    const unit = steps[axis] ** 2, at = new Int32Array(size[axis]), low = new Float64Array(size[axis]), from = new Float64Array(size[axis]);
    eachLine(size, axis, (start, step, n) => {
      let last = -1;
      for (let k = 0; k < n; k++) {
        const own = result[start + k * step];
        if (own >= cap) continue;
        const cut = (j) => (own - low[j]) / (2 * unit * (k - at[j])) + (k + at[j]) / 2;
        while (last >= 0 && cut(last) <= from[last]) last--;
        from[last + 1] = last < 0 ? -Infinity : cut(last);
        last++;
        at[last] = k;
        low[last] = own;
      }
      if (last < 0) return;
      for (let k = 0, j = 0; k < n; k++) {
        while (j < last && from[j + 1] < k) j++;
        result[start + k * step] = Math.min(cap, unit * (k - at[j]) ** 2 + low[j]);
      }
    });
  }
  return result;
}

// Pixels inside that touch a pixel of an object become part of it, at height -step.
function grow(height, inside, size, step) {
  const reached = height.map((value) => value !== OUT);
  for (let axis = 0; axis < 3; axis++) eachLine(size, axis, (start, stride, n) => {
    for (let k = 1, i = start + stride; k < n; k++, i += stride) {
      if (reached[i - stride] && !reached[i] && inside[i]) height[i] = -step;
      if (reached[i] && !reached[i - stride] && inside[i - stride]) height[i - stride] = -step;
    }
  });
}

// Of each pixel, the peak that it climbs to: by its highest neighbour across faces, of equal ones the first; -1: none.
function climb(height, size) {
  const best = height.map((value, i) => (value === OUT ? -1 : i));
  const consider = (i, other) => {
    if (height[i] !== OUT && (height[other] > height[best[i]] || (height[other] === height[best[i]] && other < best[i]))) best[i] = other;
  };
  for (let axis = 0; axis < 3; axis++) eachLine(size, axis, (start, step, n) => {
    for (let k = 1, i = start + step; k < n; k++, i += step) { consider(i, i - step); consider(i - step, i); }
  });
  for (let i = 0; i < best.length; i++) if (best[i] >= 0) best[i] = top(best, i);
  return best;
}

function top(parent, i) {
  let end = i;
  while (parent[end] !== end) end = parent[end];
  while (parent[i] !== end) {
    const next = parent[i];
    parent[i] = end;
    i = next;
  }
  return end;
}

// Merges parts unless the neck between them is narrow: pairs of pixels in descending order of the lower height.
function merge(height, root, size, ratio) {
  const [Z, Y, X] = size, steps = [Y * X, X, 1], low = [], other = [], saddles = [];
  for (let z = 0, i = 0; z < Z; z++) for (let y = 0; y < Y; y++) for (let x = 0; x < X; x++, i++) {
    if (height[i] <= 0) continue;
    for (let axis = 0; axis < 3; axis++) {
      if (axis === 0 ? z + 1 === Z : axis === 1 ? y + 1 === Y : x + 1 === X) continue;
      const next = i + steps[axis];
      if (height[next] > 0 && root[next] !== root[i]) { low.push(i); other.push(next); saddles.push(Math.min(height[i], height[next])); }
    }
  }
  const parent = root.map((_, i) => i), peak = height.slice();
  const order = new Uint32Array(saddles.length).map((_, k) => k).sort((a, b) => saddles[b] - saddles[a] || a - b);
  for (const k of order) {
    const a = top(parent, root[low[k]]), b = top(parent, root[other[k]]);
    if (a === b || saddles[k] < ratio * Math.min(peak[a], peak[b])) continue;
    parent[b] = a;
    peak[a] = Math.max(peak[a], peak[b]);
  }
  for (let i = 0; i < root.length; i++) if (root[i] >= 0) root[i] = top(parent, root[i]);
}

// Numbers the objects within the size limits by their first pixels, and measures them.
function number(values, V, root, size, how) {
  const [Z, Y, X] = size, classes = how.distance ?? Math.max(V, 2), numbers = new Int32Array(root.length), found = [];
  for (let z = 0, i = 0; z < Z; z++) for (let y = 0; y < Y; y++) for (let x = 0; x < X; x++, i++) {
    if (root[i] < 0) continue;
    if (!numbers[root[i]]) numbers[root[i]] = found.push({ area: 0, sums: [0, 0, 0], low: [Z, Y, X], high: [0, 0, 0], votes: new Array(classes).fill(0) });
    const object = found[numbers[root[i]] - 1];
    object.area++;
    for (let a = 0; a < 3; a++) {
      const place = a === 0 ? z : a === 1 ? y : x;
      object.sums[a] += place;
      object.low[a] = Math.min(object.low[a], place);
      object.high[a] = Math.max(object.high[a], place + 1);
    }
    for (let c = 1; c < classes; c++) if (c !== how.border) object.votes[c] += values[V === 1 ? i : i * V + c];
  }
  const kept = [0], rows = [];
  for (const { votes, ...object } of found) {
    const fits = object.area >= how.minimum_size && object.area <= (how.maximum_size ?? Infinity);
    kept.push(fits ? rows.push({ ...object, type: 1 + votes.slice(1).reduce((best, vote, c, all) => (vote > all[best] ? c : best), 0) }) : 0);
  }
  return { labels: new Uint32Array(root.map((peak) => (peak < 0 ? 0 : kept[numbers[peak]]))), rows };
}
