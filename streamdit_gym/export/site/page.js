// The page: draws what the worker sends, and tells it what people ask for.

const DIRECTIONS = ["up", "down", "left", "right"];
const GRID = [
  "up left", "up", "up right",
  "left", "", "right",
  "down left", "down", "down right",
];
const DIRECTION_KEYS = {
  ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right",
  w: "up", s: "down", a: "left", d: "right",
};
const CENTER = 0.08; // of the picture's size: there a touch is no direction
const DIAGONAL = 2.4; // within 22.5 degrees of an axis the direction is the axis
const SLIDER_STEPS = 200;

const element = (id) => document.getElementById(id);
const create = (tag, attributes = {}) => Object.assign(document.createElement(tag), attributes);
const query = new URLSearchParams(location.search);

const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
const held = new Set();
const history = []; // newest clean frames, as pixels
const page = { description: null, values: [], row: 0, seed: 0, size: [64, 64], paused: false };
let byDirection = new Map(); // direction -> row of its phrase

// ---- prompts ----

function send(kind, content = {}) {
  worker.postMessage({ kind, ...content });
}

function say(phrase) {
  const text = page.description.actions.phrases[phrase];
  element("prompt").textContent = text;
  for (const button of element("actions").children) {
    button.dataset.on = button.textContent === text;
  }
  page.prompt = { phrase };
  send("prompt", { prompt: page.prompt });
}

function move(values) {
  page.values = values;
  page.description.actions.dimensions.forEach(({ name }, i) => {
    element(`dimension-${i}`).value = values[i];
    element(`value-${i}`).textContent = values[i].toFixed(2);
  });
  const texts = page.description.actions.dimensions.map(({ name }, i) => `${name} ${values[i].toFixed(2)}`);
  element("prompt").textContent = texts.join("; ");
  page.prompt = { values };
  send("prompt", { prompt: page.prompt });
}

const idleValues = () => page.description.actions.dimensions.map(({ idle }) => idle);

function rest() {
  if (page.description.actions.dimensions) move(idleValues());
  else say(page.description.actions.buttons[0]);
}

// Go in some directions, such as ["up", "left"]; of those without a phrase, in the last one.
function go(directions) {
  const { dimensions, ends } = page.description.actions;
  if (dimensions) {
    const values = idleValues();
    for (const direction of directions) {
      if (direction in ends) values[ends[direction][0]] = ends[direction][1];
    }
    return move(values);
  }
  const all = DIRECTIONS.filter((direction) => directions.includes(direction)).join(" ");
  const phrase = byDirection.get(all) ?? byDirection.get(directions.at(-1));
  return phrase === undefined ? rest() : say(phrase);
}

function directionOf(phrase) {
  const words = phrase.toLowerCase().split(/\W+/);
  return DIRECTIONS.filter((direction) => words.includes(direction)).join(" ");
}

// ---- what the worker sends ----

function drawPixels(canvas, pixels, frame) {
  const [height, width] = page.size;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const image = new ImageData(width, height);
  const start = frame * width * height * 3;
  for (let i = 0; i < width * height; i++) {
    image.data.set(pixels.subarray(start + 3 * i, start + 3 * i + 3), 4 * i);
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function showBuffer({ pixels, times }) {
  const { references } = page.description;
  const list = element("buffer");
  const count = references + times.length;
  while (list.children.length < count) {
    const item = create("li");
    item.append(create("canvas"), create("span"));
    list.append(item);
  }
  history.slice(-references).forEach((frame, i) => {
    drawPixels(list.children[i].firstChild, frame, 0);
    list.children[i].lastChild.textContent = "t = 1";
  });
  times.forEach((time, i) => {
    const item = list.children[references + i];
    item.className = i === 0 ? "noisy first" : "noisy";
    drawPixels(item.firstChild, pixels, 1 + i);
    item.lastChild.textContent = `t = ${Number(time.toFixed(2))}`;
  });
}

function showFrame(frame) {
  const [height, width] = page.size;
  drawPixels(element("image"), frame.pixels, 0);
  if (frame.withBuffer) showBuffer(frame);
  history.push(frame.pixels.slice(0, height * width * 3));
  if (history.length > page.description.references) history.shift();
  element("image").dataset.number = frame.number;
  element("measured-fps").textContent = frame.fps.toFixed(1);
  element("times").textContent =
    `${Math.round(frame.stepMs)} ms to denoise, ${Math.round(frame.decodeMs)} ms to decode`;
}

function showWorld({ description, backend, threads, starts }) {
  page.description = description;
  for (const name of ["pause", "restart"]) element(name).disabled = false;
  page.size = description.frame_size;
  element("world").textContent = `${description.world}, in your browser`;
  document.title = `${description.world}, in your browser`;
  element("status").textContent = "live";
  element("backend").textContent =
    backend === "webgpu" ? "WebGPU" : `WebAssembly, ${threads} thread${threads > 1 ? "s" : ""}`;
  element("about").textContent =
    "Every frame is drawn by a neural network on this machine; nothing is sent anywhere. " +
    `Made by streamdit_gym. Licence of the weights: ${description.license || "unknown"}.`;
  showFps(description.fps);
  showStarts(starts);
  if (description.actions.dimensions) showDimensions(description.actions.dimensions);
  else showMenu(description.actions);
  rest();
}

function showMenu({ phrases, buttons }) {
  // the menu's own phrases come first, and of two with one direction the first is meant
  byDirection = new Map([...buttons].reverse().map((row) => [directionOf(phrases[row]), row]));
  const isGrid = GRID.every((direction) => byDirection.has(direction));
  const first = isGrid ? GRID.map((direction) => byDirection.get(direction)) : [];
  const ordered = [...new Set([...first, ...buttons])];
  element("actions").replaceChildren(...ordered.map((row) => {
    const button = create("button", { type: "button", textContent: phrases[row] });
    button.onclick = () => say(row);
    return button;
  }));
  element("phrases").replaceChildren(...phrases.map((value) => create("option", { value })));
  element("phrase-form").hidden = phrases.length === buttons.length;
}

function showDimensions(dimensions) {
  element("dimensions").replaceChildren(...dimensions.map(({ name, words, low, high }, i) => {
    const row = create("div");
    const label = create("label", { htmlFor: `dimension-${i}`, textContent: name });
    label.append(create("output", { id: `value-${i}` }));
    const input = create("input", {
      id: `dimension-${i}`, type: "range", min: low, max: high, step: (high - low) / SLIDER_STEPS,
    });
    input.oninput = () => move(page.values.map((value, k) => (k === i ? Number(input.value) : value)));
    const marks = create("p", { className: "marks" });
    marks.append(...words.map((word) => create("span", { textContent: word })));
    row.append(label, input, marks);
    return row;
  }));
  element("dimensions").hidden = false;
  const button = create("button", { type: "button", textContent: "at rest" });
  button.onclick = rest;
  element("actions").replaceChildren(button);
}

function showStarts({ count, pixels }) {
  element("starts").replaceChildren(...Array.from({ length: count }, (_, row) => {
    const button = create("button", { type: "button", ariaLabel: `first frame ${row + 1}` });
    const canvas = create("canvas");
    button.append(canvas);
    drawPixels(canvas, pixels, row);
    button.onclick = () => restart(row);
    return button;
  }));
}

function showFps(fps) {
  const slider = element("fps");
  slider.max = Math.max(60, fps);
  slider.value = fps;
  element("fps-value").textContent = slider.value;
}

const HANDLERS = {
  loading: ({ text }) => { element("status").textContent = `${text}…`; },
  note: ({ text }) => { console.info(text); },
  ready: showWorld,
  frame: showFrame,
  error: ({ text }) => {
    element("problem").textContent = text;
    element("problem").hidden = false;
    element("status").textContent = "stopped";
  },
};

// ---- controls ----

function restart(row) {
  page.row = row;
  page.seed += 1;
  history.length = 0;
  send("restart", { row, seed: page.seed, prompt: page.prompt });
  pause(false);
}

function pause(on) {
  page.paused = on;
  element("pause").textContent = on ? "Continue" : "Pause";
  element("pause").dataset.on = on;
  element("status").textContent = on ? "paused" : "live";
  send("pause", { on });
}

function pressedKey(event) {
  return event.key.length === 1 ? event.key.toLowerCase() : event.key;
}

function handleKeyDown(event) {
  if (!page.description || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input")) return;
  const key = pressedKey(event);
  if (key in DIRECTION_KEYS) {
    event.preventDefault();
    if (event.repeat) return;
    held.add(DIRECTION_KEYS[key]);
    go([...held]);
  } else if (/^[1-9]$/.test(key)) {
    const row = page.description.actions.buttons?.[key - 1];
    if (row !== undefined) say(row);
  } else if (key === " " && !event.target.matches("button")) {
    event.preventDefault();
    if (!event.repeat) pause(!page.paused);
  } else if (key === "n" && !event.repeat) {
    restart(page.row);
  }
}

function release(direction) {
  if (!held.delete(direction)) return;
  if (held.size) go([...held]);
  else rest();
}

// A touch inside the picture is a direction; in a box it is a value of the dimensions themselves.
function handlePointer(event) {
  const box = element("image").getBoundingClientRect();
  const x = (2 * (event.clientX - box.left)) / box.width - 1;
  const y = (2 * (event.clientY - box.top)) / box.height - 1;
  const { dimensions, ends } = page.description.actions;
  if (dimensions) return move(touchedValues(dimensions, ends, x, y));
  if (Math.hypot(x, y) < 2 * CENTER) return rest();
  const threshold = Math.max(Math.abs(x), Math.abs(y)) / DIAGONAL;
  const directions = [];
  if (y < -threshold) directions.push("up");
  if (y > threshold) directions.push("down");
  if (x < -threshold) directions.push("left");
  if (x > threshold) directions.push("right");
  return go(directions);
}

function touchedValues(dimensions, ends, x, y) {
  const values = idleValues();
  const shares = { left: -x, right: x, up: -y, down: y };
  for (const [direction, share] of Object.entries(shares)) {
    if (share <= 0 || !(direction in ends)) continue;
    const [place, end] = ends[direction];
    values[place] += Math.min(share, 1) * (end - dimensions[place].idle);
  }
  return values;
}

function addListeners() {
  element("pause").onclick = () => pause(!page.paused);
  element("restart").onclick = () => restart(page.row);
  element("fps").oninput = () => {
    element("fps-value").textContent = element("fps").value;
    send("fps", { fps: Number(element("fps").value) });
  };
  element("phrase-form").onsubmit = (event) => {
    event.preventDefault();
    const row = page.description.actions.phrases.indexOf(element("phrase").value.trim());
    if (row >= 0) say(row);
    element("phrase").setCustomValidity(row >= 0 ? "" : "not among the phrases of this export");
    element("phrase").reportValidity();
  };
  element("phrase").oninput = () => element("phrase").setCustomValidity("");
  const image = element("image");
  image.onpointerdown = (event) => {
    if (!page.description) return;
    image.setPointerCapture(event.pointerId);
    handlePointer(event);
  };
  image.onpointermove = (event) => image.hasPointerCapture(event.pointerId) && handlePointer(event);
  image.onlostpointercapture = rest;
  document.addEventListener("keydown", handleKeyDown);
  document.addEventListener("keyup", (event) => release(DIRECTION_KEYS[pressedKey(event)]));
  window.addEventListener("blur", () => {
    if (!held.size) return;
    held.clear();
    rest();
  });
}

worker.onmessage = ({ data }) => HANDLERS[data.kind](data);
worker.onerror = (event) => HANDLERS.error({ text: event.message || "the worker cannot be loaded" });
addListeners();
send("load", { address: new URL(".", location.href).href, backend: query.get("backend") });
