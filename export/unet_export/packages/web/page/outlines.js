// Objects as files of other programs: a table, and outlines along the edges of their pixels.

// The columns of `unet predict --table`, as far as they need no more than the labels.
export function table(pages, names, volume) {
  const axes = volume ? [0, 1, 2] : [1, 2], letters = ["z", "y", "x"], many = pages.length > 1;
  const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = [[...(many ? ["image"] : []), "object", "class", "area", ...axes.map((a) => letters[a]), ...axes.flatMap((a) => [`${letters[a]}_min`, `${letters[a]}_max`])]];
  pages.forEach((rows, page) => rows.forEach(({ area, sums, low, high, type }, i) => {
    lines.push([...(many ? [page] : []), i + 1, quoted(names[type]), area, ...axes.map((a) => sums[a] / area), ...axes.flatMap((a) => [low[a], high[a]])]);
  }));
  return new Blob([lines.map((line) => `${line.join(",")}\r\n`).join("")], { type: "text/csv" });
}

// A polygon with its holes for each object, as QuPath reads it. labels: planes of [height, width], one after the other.
export function geojson(pages, labels, [height, width], names) {
  const features = pages.flatMap((rows, page) => rows.map(({ low: [, top, left], high: [, bottom, right], type }, i) => {
    const at = (y, x) => y >= top && y < bottom && x >= left && x < right && labels[(page * height + y) * width + x] === i + 1;
    const geometry = { type: "Polygon", coordinates: rings(at, top, left, bottom, right) };
    if (pages.length > 1) geometry.plane = { c: -1, z: 0, t: page };
    return JSON.stringify({ type: "Feature", geometry, properties: { objectType: "detection", name: String(i + 1), classification: { name: names[type] } } });
  }));
  return new Blob([`{"type": "FeatureCollection", "features": [\n${features.join(",\n")}\n]}\n`], { type: "application/geo+json" });
}

// The outer outline, then those of holes: closed polygons of corners [x, y] with the object to the right of the way. Where
// two pixels meet at a corner only, the outline goes around the background.
export function rings(at, top, left, bottom, right) {
  const starts = new Map(), wide = right + 1; // directions: 0 right, 1 down, 2 left, 3 up
  const begin = (y, x, direction) => {
    if (!starts.has(y * wide + x)) starts.set(y * wide + x, []);
    starts.get(y * wide + x).push(direction);
  };
  for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) {
    if (!at(y, x)) continue;
    if (!at(y - 1, x)) begin(y, x, 0);
    if (!at(y, x + 1)) begin(y, x + 1, 1);
    if (!at(y + 1, x)) begin(y + 1, x + 1, 2);
    if (!at(y, x - 1)) begin(y + 1, x, 3);
  }
  const found = [];
  for (const corner of [...starts.keys()].sort((a, b) => a - b)) while (starts.get(corner).length) {
    let direction = starts.get(corner).pop(), place = corner;
    const ring = [[corner % wide, Math.floor(corner / wide)]];
    for (;;) {
      place += [1, wide, -1, -wide][direction];
      if (place === corner) break;
      const here = starts.get(place), left = (turn) => (turn - direction + 5) % 4; // to the left first
      const turn = here.reduce((best, other) => (left(other) < left(best) ? other : best));
      here.splice(here.indexOf(turn), 1);
      if (turn !== direction) ring.push([place % wide, Math.floor(place / wide)]);
      direction = turn;
    }
    found.push([...ring, ring[0]]);
  }
  return found;
}
