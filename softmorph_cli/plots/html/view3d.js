// The rotating 3D view: an orthographic projection, drawn into pixels with a depth for each; what is far is paler.
{
  // Pixels of the drawing along one of the page; shades; pixels at the edges that stay empty; and pixels of the page
  // between the pointer and a branch that it names.
  const [FINE, DEPTHS, EDGE, REACH] = [2, 24, 12, 8];
  const part = (name) => document.querySelector(`#view3d ${name}`);
  const data = JSON.parse(document.getElementById("view3d-data").textContent);
  const [canvas, by, one, turnButton] = ["canvas", ".by", ".one", ".turn"].map(part);
  const pen = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  const table = document.querySelector("section[aria-labelledby=branches] tbody");
  const start = { turn: 30, tilt: 20, zoom: 1, x: 0, y: 0 };
  const view = { ...start };
  let [hovered, marked, rotating, visible, queued, last] = [-1, -1, false, true, 0, 0];

  // Places relative to the centre of the box: to the right, up and towards the viewer at angles of 0.
  const [[right, up], [low, high]] = [data.screen, data.box];
  const near = [0, 1, 2].map((k) => right[(k + 1) % 3] * up[(k + 2) % 3] - right[(k + 2) % 3] * up[(k + 1) % 3]);
  const reach = Math.hypot(...low.map((value, k) => (high[k] - value) / 2));
  const turned = (places) => {
    const along = (axis, i) => axis.reduce((sum, a, k) => sum + a * (places[i + k] - (low[k] + high[k]) / 2), 0);
    const from = Float32Array.from(places, (_, i) => along([right, up, near][i % 3], i - (i % 3)));
    return { from, to: new Float32Array(from.length), count: from.length / 3 };
  };
  const edges = [0, 1, 2, 3, 4, 5, 6, 7].flatMap((c) => [1, 2, 4].filter((k) => !(c & k)).map((k) => [c, c + k]));
  const box = turned(edges.flat().flatMap((c) => low.map((value, k) => (c & (1 << k) ? high[k] : value))));
  const line = turned(data.points);
  const nodes = Object.entries(data.nodes).map(([kind, places]) => ({ kind, ...turned(places) }));
  const surface = { kind: "surface", ...turned(data.surface) };
  const owner = Int32Array.from(data.counts.flatMap((count, k) => Array(count).fill(k)));
  const joins = (i) => owner[i] === owner[i - 1];

  // Colours: of each point an index, of each index its shades from far to near.
  let [colors, tones, image, pixels, depths, wide, tall, width, height, scale] = [[], {}];
  const look = () => {
    const style = getComputedStyle(document.documentElement);
    const theme = data.looks[style.colorScheme === "dark" ? "dark" : "light"];
    const color = (name) => style.getPropertyValue(`--${name}`).trim();
    const [paper, ink, pale, accent] = ["paper", "ink", "pale", "accent"].map(color);
    const rgb = (hex) => [1, 3, 5].map((k) => Number.parseInt(hex.slice(k, k + 2), 16));
    const behind = rgb(paper);
    const shades = (hex, most = 1) =>
      Uint32Array.from({ length: DEPTHS }, (_, depth) => {
        const share = most * (0.5 + (0.5 * depth) / (DEPTHS - 1));
        const [r, g, b] = rgb(hex).map((value, k) => Math.round(behind[k] + (value - behind[k]) * share));
        return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
      });
    const way = data.colorings[by ? by.selectedIndex : 0] || {};
    for (const key of document.querySelectorAll("#view3d [data-way]")) key.hidden = key.dataset.way !== way.name;
    colors = Int16Array.from(owner, (k, i) => way.values[way.each === "point" ? i : k]);
    const lines = [...(theme[way.palette] || []), pale]; // the last for values that are not known
    const marks = Object.fromEntries(nodes.map(({ kind }) => [kind, shades(theme.marks[kind])]));
    const [plain, dim] = [1, 0.5].map((most) => lines.map((hex) => shades(hex, most)));
    const [back, halo, axis, faint] = [shades(paper), shades(accent), shades(pale), shades(pale, 0.45)];
    tones = { paper, ink, plain, dim, back, halo, axis, faint, marks: { ...marks, surface: shades(pale, 0.3) } };
    soon();
  };

  const project = ({ from, to }) => {
    const [turn, tilt] = [view.turn, view.tilt].map((angle) => (angle * Math.PI) / 180);
    const [ct, st, ce, se] = [Math.cos(turn), Math.sin(turn), Math.cos(tilt), Math.sin(tilt)];
    const [x, y, size] = [FINE * (width / 2 + view.x), FINE * (height / 2 + view.y), FINE * scale];
    for (let i = 0; i < from.length; i += 3) {
      const towards = ct * from[i + 2] - st * from[i];
      to[i] = x + size * (ct * from[i] + st * from[i + 2]);
      to[i + 1] = y - size * (ce * from[i + 1] - se * towards);
      to[i + 2] = (DEPTHS - 0.01) * (0.5 + (se * from[i + 1] + ce * towards) / (2.001 * reach));
    }
    return to;
  };
  const inside = (x, y) => x >= EDGE && y >= EDGE && x < wide - EDGE && y < tall - EDGE;
  // Draw the line from point i - 1 to point i; a lift of DEPTHS draws it over everything.
  const stroke = (at, i, thick, shades, lift = 0) => {
    const [x, y, z] = [at[3 * i - 3], at[3 * i - 2], at[3 * i - 1]];
    const [dx, dy, dz] = [at[3 * i] - x, at[3 * i + 1] - y, at[3 * i + 2] - z];
    const color = shades[at[3 * i + 2] | 0];
    const steps = Math.max(1, Math.ceil(Math.max(Math.abs(dx), Math.abs(dy))));
    const across = Math.abs(dx) > Math.abs(dy) ? wide : 1;
    const count = Math.round((thick * Math.max(1, Math.hypot(dx, dy))) / steps);
    for (let s = 0; s <= steps; s += 1) {
      const px = Math.round(x + (dx * s) / steps);
      const py = Math.round(y + (dy * s) / steps);
      if (!inside(px, py)) continue;
      const depth = z + (dz * s) / steps + lift;
      let pixel = py * wide + px - (count >> 1) * across;
      for (let k = 0; k < count; k += 1, pixel += across) {
        if (depths[pixel] > depth) continue;
        depths[pixel] = depth;
        pixels[pixel] = color;
      }
    }
  };
  // Draw points as marks with a rim; a shape tells how far a pixel lies outside of the middle.
  const shapes = {
    "end point": Math.hypot,
    junction: (dx, dy) => Math.max(1.2 * dy, 1.6 * dx - 0.8 * dy),
    voxel: (dx, dy) => Math.max(dx, Math.abs(dy)),
    surface: () => 0,
  };
  const stamp = (points, size, rim, lift) => {
    const [at, shape, shades] = [project(points), shapes[points.kind], tones.marks[points.kind]];
    for (let i = 0; i < at.length; i += 3) {
      if (!inside(at[i], at[i + 1])) continue;
      const first = Math.round(at[i + 1]) * wide + Math.round(at[i]);
      for (let dy = -rim; dy <= rim; dy += 1) {
        for (let dx = -rim; dx <= rim; dx += 1) {
          const pixel = first + dy * wide + dx;
          const far = shape(Math.abs(dx), dy);
          if (far > rim || depths[pixel] > at[i + 2] + lift) continue;
          depths[pixel] = at[i + 2] + lift;
          pixels[pixel] = far > size ? tones.back[0] : shades[at[i + 2] | 0];
        }
      }
    }
  };
  const write = (words, x, y, align = "left") => {
    [pen.textAlign, pen.textBaseline, pen.lineJoin, pen.lineWidth] = [align, "middle", "round", 4];
    [pen.strokeStyle, pen.fillStyle] = [tones.paper, tones.ink];
    pen.strokeText(words, x, y);
    pen.fillText(words, x, y);
  };
  const drawWords = (around) => {
    pen.setTransform(FINE, 0, 0, FINE, 0, 0);
    pen.font = `14px ${getComputedStyle(canvas).fontFamily}`;
    for (const k of [0, 1, 2]) {
      const [x, y, toX, toY] = [0, 1, 3, 4].map((j) => around[6 * k + j] / FINE);
      const long = Math.hypot(toX - x, toY - y);
      if (long > 8) write("xyz"[k], toX + (13 * (toX - x)) / long, toY + (13 * (toY - y)) / long, "center");
    }
    const most = (0.22 * width) / scale;
    const power = 10 ** Math.floor(Math.log10(most));
    const size = Number(([5, 2, 1].find((k) => k * power <= most) * power).toPrecision(6));
    write(`${size.toLocaleString("en", { maximumSignificantDigits: 6 })} ${data.unit}`, 16, height - 34);
    pen.fillRect(16, height - 22, size * scale, 4);
    if (hovered >= 0) write(words(hovered), 16, 20);
  };
  const draw = () => {
    queued = 0;
    [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    if (wide !== FINE * width || tall !== FINE * height) {
      [wide, tall] = [canvas.width, canvas.height] = [FINE * width, FINE * height];
      image = pen.createImageData(wide, tall);
      [pixels, depths] = [new Uint32Array(image.data.buffer), new Float32Array(wide * tall)];
    }
    scale = (view.zoom * 0.5 * Math.min(width, height)) / reach;
    pixels.fill(tones.back[0]);
    depths.fill(-Infinity);
    if (part(".surface")?.checked) stamp(surface, 1, 1, -2 * DEPTHS);
    const [at, around] = [line, box].map(project);
    edges.forEach(([c], k) => stroke(around, 2 * k + 1, 2, c ? tones.faint : tones.axis)); // c is 0: an axis
    const shades = marked < 0 ? tones.plain : tones.dim;
    for (let i = 1; i < owner.length; i += 1) {
      if (joins(i)) stroke(at, i, at[3 * i + 2] > DEPTHS / 2 ? 6 : 5, shades.at(colors[i]));
    }
    const crowd = nodes.reduce((sum, { count }) => sum + count, 1);
    const size = Math.round(FINE * Math.min(4, Math.max(1, Math.sqrt((0.02 * width * height) / crowd) / 2)));
    if (part(".nodes").checked) for (const node of nodes) stamp(node, size, size + 2, 1);
    for (const chosen of new Set([hovered, marked])) {
      for (const [k, [thick, rim]] of [[16, tones.halo], [11, tones.back], [8, null]].entries()) {
        for (let i = 1; i < owner.length; i += 1) {
          if (owner[i] === chosen && joins(i)) stroke(at, i, thick, rim || tones.plain.at(colors[i]), DEPTHS * (k + 1));
        }
      }
    }
    pen.putImageData(image, 0, 0);
    drawWords(around);
  };
  const soon = () => (queued ||= requestAnimationFrame(draw));

  const fact = (k) => ([name, cells, unit]) => `, ${name} ${cells[k]} ${unit}`;
  const words = (k) => `Branch ${data.numbers[k]}${data.facts.map(fact(k)).join("")}`;
  const markRow = () => {
    const name = `${data.numbers[marked]}`;
    for (const row of table?.rows || []) row.classList.toggle("marked", row.cells[0].textContent === name);
  };
  const mark = (number) => {
    marked = data.numbers.indexOf(number);
    if (one && Number(one.value) !== number) one.value = marked < 0 ? "" : number;
    part(".told").textContent = marked >= 0 ? `${words(marked)}.` : number ? `Branch ${number} is not drawn.` : "";
    markRow();
    soon();
  };
  const found = (x, y) => {
    let [best, branch] = [Infinity, -1];
    const at = line.to;
    for (let i = 1; i < owner.length; i += 1) {
      if (!joins(i)) continue;
      const [ax, ay] = [FINE * x - at[3 * i - 3], FINE * y - at[3 * i - 2]];
      const [dx, dy] = [at[3 * i] - at[3 * i - 3], at[3 * i + 1] - at[3 * i - 2]];
      const share = Math.min(1, Math.max(0, (ax * dx + ay * dy) / (dx * dx + dy * dy || 1)));
      const far = Math.hypot(ax - share * dx, ay - share * dy);
      // Of two that cross below the pointer, the nearer one.
      if (far < FINE * REACH && far - at[3 * i + 2] / 4 < best) [best, branch] = [far - at[3 * i + 2] / 4, owner[i]];
    }
    return branch;
  };
  const hover = (branch) => soon(([hovered, canvas.style.cursor] = [branch, branch < 0 ? "" : "pointer"]));

  const rotate = (now) => {
    if (!rotating) return;
    view.turn += visible && last ? Math.min(100, now - last) * 0.012 : 0;
    last = now;
    if (visible) draw();
    requestAnimationFrame(rotate);
  };
  // Change the view; its rotation goes on or stops.
  const move = (change, on = false) => {
    Object.assign(view, change);
    view.tilt = Math.min(90, Math.max(-90, view.tilt));
    if (on && !rotating) requestAnimationFrame(rotate);
    [rotating, last] = [on, 0];
    turnButton.textContent = on ? "Stop" : "Rotate";
    soon();
  };
  const zoom = (factor, x = width / 2, y = height / 2) => {
    const real = Math.min(200, Math.max(0.2, view.zoom * factor)) / view.zoom;
    const [dx, dy] = [x - width / 2, y - height / 2];
    move({ zoom: view.zoom * real, x: dx + (view.x - dx) * real, y: dy + (view.y - dy) * real });
  };
  const on = (name, react, target = canvas) => target.addEventListener(name, react, { passive: false });
  const fingers = new Map();
  let [travelled, scrolled] = [0, -Infinity];
  on("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    travelled = fingers.size > 1 ? Infinity : 0;
    move({});
  });
  on("pointermove", (event) => {
    const [x, y] = [event.offsetX, event.offsetY];
    const before = fingers.get(event.pointerId);
    if (!before) return hover(found(x, y));
    const [dx, dy] = [x - before[0], y - before[1]];
    travelled += Math.hypot(dx, dy);
    fingers.set(event.pointerId, [x, y]);
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    const share = other ? 0.5 : 1;
    if (other || event.shiftKey || event.buttons > 1) move({ x: view.x + share * dx, y: view.y + share * dy });
    else move({ turn: view.turn + 0.4 * dx, tilt: view.tilt + 0.4 * dy });
    if (!other) return;
    const [now, was] = [[x, y], before].map((place) => Math.hypot(place[0] - other[0], place[1] - other[1]) || 1);
    zoom(now / was, (x + other[0]) / 2, (y + other[1]) / 2);
  });
  on("pointerup", (event) => travelled < 4 && mark(data.numbers[found(event.offsetX, event.offsetY)] || 0));
  on("lostpointercapture", (event) => fingers.delete(event.pointerId));
  on("pointerleave", () => hover(-1));
  on("dblclick", () => move(start));
  // A wheel that already scrolls the page goes on to do so when the view passes below the pointer.
  on("wheel", (event) => {
    if (event.target !== canvas || event.timeStamp - scrolled < 300) return (scrolled = event.timeStamp);
    event.preventDefault();
    return zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.offsetX, event.offsetY);
  }, window);
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  on("keydown", (event) => {
    const [x, y] = arrows[event.key] || [0, 0];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if ((x || y) && event.shiftKey) move({ x: view.x + 20 * x, y: view.y + 20 * y });
    else if (x || y) move({ turn: view.turn + 5 * x, tilt: view.tilt + 5 * y });
    else if ("+=-_".includes(event.key)) zoom("+=".includes(event.key) ? 1.2 : 1 / 1.2);
    else if (event.key === "0") move(start);
    else if (event.key === "Escape") mark(0);
    else return;
    event.preventDefault();
  });
  on("click", () => move({}, !rotating), turnButton);
  on("click", () => move(start, mark(0)), part(".reset"));
  on("change", look, part(".controls"));
  if (one) on("input", () => mark(Number(one.value) || 0), one);
  if (table) {
    table.closest("section").classList.add("picks");
    on("click", (event) => {
      const row = event.target.closest("tr");
      if (!row || !getSelection().isCollapsed) return; // a text is being selected
      mark(Number(row.cells[0].textContent));
      canvas.scrollIntoView({ block: "nearest" });
    }, table);
    new MutationObserver(markRow).observe(table, { childList: true });
  }

  // An address may state the angles, such as page.html#angle=30,20&colour=Component&branch=3.
  const follow = () => {
    const asked = new URLSearchParams(location.hash.slice(1));
    const [turn, tilt] = (asked.get("angle") || "").split(",").map(Number);
    const still = asked.has("angle") || window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (by && asked.has("colour")) by.value = asked.get("colour");
    look();
    mark(Number(asked.get("branch")) || 0);
    move(Number.isFinite(tilt) && Number.isFinite(turn) ? { turn, tilt } : {}, !still);
  };
  on("hashchange", follow, window);
  on("change", look, window.matchMedia("(prefers-color-scheme: dark)"));
  new MutationObserver(look).observe(document.documentElement, { attributeFilter: ["data-look"] });
  new ResizeObserver(soon).observe(canvas);
  new IntersectionObserver(([entry]) => (visible = entry.isIntersecting)).observe(canvas);
  document.getElementById("view3d").hidden = false;
  follow();
  draw();
}
