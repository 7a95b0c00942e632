// Events of a user of the 3D view, and what the page shows after each of them; a branch lies in the view's middle.
const find = (selector) => document.querySelector(selector);
const [canvas, told, one, turn] = ["canvas", ".told", ".one", ".turn"].map((name) => find(`#view3d ${name}`));
const row = () => find("tr.marked")?.cells[0].textContent;
const middle = () => [canvas.clientWidth / 2, canvas.clientHeight / 2];
const frames = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
// A number that differs between pictures.
const picture = () => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return new Uint32Array(data.buffer).reduce((sum, pixel) => (Math.imul(sum, 31) + pixel) | 0, 7);
};
const send = async (kind, name, [x, y], more = {}) => {
  const at = canvas.getBoundingClientRect();
  const place = { clientX: at.left + x, clientY: at.top + y, pointerId: 1, bubbles: true, cancelable: true };
  canvas.dispatchEvent(new kind(name, { ...place, ...more }));
  await frames();
  return picture();
};
const point = (name, place, more = {}) => send(PointerEvent, `pointer${name}`, place, more);
const lift = async (place, more = {}) => {
  await point("up", place, more);
  return send(PointerEvent, "lostpointercapture", place, more);
};
const drag = async (more) => {
  const [x, y] = middle();
  await point("down", [x, y + 90], more);
  await point("move", [x + 60, y + 60], { buttons: 1, ...more });
  return lift([x + 60, y + 60], more);
};
// Two fingers that come nearer to each other.
const pinch = async () => {
  const [x, y] = middle();
  await point("down", [x - 80, y]);
  await point("down", [x + 80, y], { pointerId: 2 });
  await point("move", [x + 40, y], { pointerId: 2 });
  await lift([x + 40, y], { pointerId: 2 });
  return lift([x - 80, y]);
};
const key = (name, more = {}) => send(KeyboardEvent, "keydown", [0, 0], { key: name, ...more });
const wheel = () => send(WheelEvent, "wheel", middle(), { deltaY: -200 });

const walk = async () => {
  // The events are none of a real pointer.
  canvas.setPointerCapture = () => {};
  const out = { turning: [turn.textContent] };
  const first = picture();
  await new Promise((done) => setTimeout(done, 400));
  out.turned = picture() !== first;
  await point("down", [20, 60]);
  await lift([20, 60]);
  out.turning.push(turn.textContent);
  out.start = await send(MouseEvent, "dblclick", middle());
  out.changed = [];
  out.reset = [];
  for (const change of [() => drag({}), () => drag({ shiftKey: true }), pinch, wheel, () => key("ArrowLeft"), () => key("+")]) {
    out.changed.push(await change());
    out.reset.push(await key("0"));
  }
  await key("ArrowUp");
  out.reset.push(await key("ArrowDown"));
  for (let twice = 0; twice < 2; twice += 1) {
    find("#look").click();
    await frames();
    [out.reset, out.changed][1 - twice].push(picture());
  }
  const by = find("#view3d .by");
  const legend = () => [...document.querySelectorAll("#view3d .way")].filter((way) => !way.hidden)[0].dataset.way;
  out.legends = [legend()];
  by.value = "Component";
  by.dispatchEvent(new Event("change", { bubbles: true }));
  await frames();
  out.legends.push(legend());
  out.changed.push(picture());
  by.selectedIndex = 0;
  by.dispatchEvent(new Event("change", { bubbles: true }));
  await point("move", middle());
  out.cursor = [canvas.style.cursor];
  await point("move", [20, 60]);
  out.cursor.push(canvas.style.cursor);
  await point("down", middle());
  await lift(middle());
  out.clicked = [told.textContent, one.value, row()];
  out.reset.push(await key("Escape"));
  out.unmarked = [told.textContent, one.value, row() ?? ""];
  find("section[aria-labelledby=branches] tbody td").click();
  await frames();
  out.rowed = [told.textContent, picture() !== out.start];
  find("section[aria-labelledby=branches] thead button").click();
  await frames();
  out.sorted = row();
  one.value = "99";
  one.dispatchEvent(new Event("input"));
  out.missing = told.textContent;
  turn.click();
  out.turning.push(turn.textContent);
  turn.click();
  console.log(JSON.stringify(out));
};
addEventListener("load", () => requestAnimationFrame(walk));
