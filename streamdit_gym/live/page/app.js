"use strict";

const SLIDERS = ["chunks", "micro_steps", "transition", "fps"];
const SLIDER_DELAY_MS = 100; // a slider sends its newest value at most this often
const DIMENSION_STEPS = 200; // from a dimension's low to its high end
const DIMENSION_DIGITS = 4; // of a value
const MIN_SMOOTH_PX = 256; // frames from this width on are enlarged smoothly
const MAX_SILENCE_MS = 6000; // the server sends something every two seconds
const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 5000;
const PROBLEM_MS = 6000;
const MAX_LATENCIES = 100;
const REWIND_S = 3;
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

const element = (id) => document.getElementById(id);

const connection = { socket: null, lastMessageAt: 0, retryMs: FIRST_RETRY_MS };
const menu = { phrases: [], byDirection: new Map() };
const dimensions = { named: [], inputs: [], timer: null };
const prompts = {
  nextId: Math.floor(Math.random() * 2 ** 40),
  sentAt: new Map(), // id -> time
  applied: [], // answers whose frame is not drawn yet
  latencies: [],
};
const frames = { newest: null, drawing: false };
const heldDirections = new Set();
const pendingSliders = new Set();
let problemTimer = null;

// ---- the connection ----

function connect() {
  // relative to the page, because a proxy may show it under a path
  const address = new URL(`stream${location.search}`, document.baseURI);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  connection.socket = socket;
  connection.lastMessageAt = performance.now();
  socket.onmessage = (event) => {
    connection.lastMessageAt = performance.now();
    if (typeof event.data === "string") {
      handleMessage(JSON.parse(event.data));
    } else {
      frames.newest = event.data;
      drawFrames();
    }
  };
  socket.onclose = (event) => {
    const reason = event.reason ? `The server said: ${event.reason}.` : "The server has gone away.";
    reconnectLater(socket, reason);
  };
}

function reconnectLater(socket, reason) {
  if (socket !== connection.socket) return; // it was given up before
  connection.socket = null;
  prompts.sentAt.clear();
  prompts.applied.length = 0;
  showStatus("not connected");
  showProblem(`${reason} Trying again…`);
  setTimeout(connect, connection.retryMs);
  connection.retryMs = Math.min(MAX_RETRY_MS, connection.retryMs * 1.6);
}

function checkSilence() {
  const socket = connection.socket;
  if (!socket || performance.now() - connection.lastMessageAt < MAX_SILENCE_MS) return;
  reconnectLater(socket, "The server has fallen silent.");
  socket.close();
}

function send(command, fields = {}) {
  const socket = connection.socket;
  const isOpen = socket && socket.readyState === WebSocket.OPEN;
  if (isOpen) socket.send(JSON.stringify({ command, ...fields }));
  else showProblem("Not connected: that was not sent. Trying again…");
  return isOpen;
}

function sendPrompt(text) {
  if (!text) return;
  const id = prompts.nextId++;
  if (send("prompt", { text, id })) prompts.sentAt.set(id, performance.now());
}

// ---- messages from the server ----

function handleMessage(message) {
  if (message.kind === "hello") showWorld(message);
  else if (message.kind === "settings") showSettings(message);
  else if (message.kind === "prompt_applied") prompts.applied.push(message);
  else if (message.kind === "error") showProblem(errorText(message), PROBLEM_MS);
  else if (message.kind === "recorded") addFilmLink(message);
  else if (message.kind === "branched") addBranchLink(message);
  else if (message.kind === "opened") goToStream(message.name);
}

function errorText(error) {
  const given = error.given && `given: ${error.given}`;
  const allowed = error.allowed && `allowed: ${error.allowed}`;
  return [error.problem, given, allowed, error.remedy].filter(Boolean).join("\n");
}

function showWorld(hello) {
  connection.retryMs = FIRST_RETRY_MS;
  showStatus("live");
  showProblem("");
  element("world").textContent = `${hello.world}, stream ${hello.stream}`;
  element("text").maxLength = hello.max_prompt_chars;
  showTextLength();
  const limits =
    "A film ends after 36,000 frames. " +
    `None starts once the folder holds ${hello.max_films} films or ${hello.max_film_mib} MiB.`;
  element("record").title = limits;
  setText("film-limits", limits);
  element("simulator").hidden = !hello.has_simulator;
  for (const canvas of [element("image"), element("simulator-image")]) {
    canvas.width = hello.width;
    canvas.height = hello.height;
    canvas.classList.toggle("smooth", hello.width >= MIN_SMOOTH_PX);
  }
  const options = hello.suggestions.map((phrase) => create("option", { value: phrase }));
  element("suggestions").replaceChildren(...options);
  showWorlds(hello.worlds, hello.world);
  showActions(hello.menu, hello.directions);
  showFixed(hello.fixed_settings);
  showDimensions(hello.dimensions);
}

// Other worlds to watch; that of this stream may be one that is not shipped.
function showWorlds(shipped, current) {
  const names = shipped.includes(current) ? shipped : [current, ...shipped];
  const options = names.map((name) => new Option(name, name, false, name === current));
  element("worlds").replaceChildren(...options);
}

// Settings that cannot change while this stream runs have no control.
function showFixed(fixed) {
  for (const name of SLIDERS) {
    const row = [element(name), document.querySelector(`label[for=${name}]`)];
    for (const part of row) part.hidden = fixed.includes(name);
  }
}

// Sliders of a box: one for each dimension, with its words as marks.
function showDimensions(named) {
  if (JSON.stringify(named) === JSON.stringify(dimensions.named)) return; // connected again
  dimensions.named = named;
  dimensions.inputs = named.map(dimensionInput);
  const rows = named.map((dimension, i) => {
    const row = create("div");
    const label = create("label", { htmlFor: dimensions.inputs[i].id });
    label.append(dimension.name, create("output", { id: `${dimensions.inputs[i].id}-value` }));
    const marks = create("p", { className: "marks" });
    marks.setAttribute("aria-hidden", "true");
    marks.append(...dimension.words.map((word) => create("span", { textContent: word })));
    row.append(label, dimensions.inputs[i], marks);
    return row;
  });
  element("dimensions").replaceChildren(...rows);
  element("dimensions").hidden = !named.length;
  named.forEach((dimension, i) => showDimension(i, dimension.idle));
}

function dimensionInput({ low, high }, i) {
  const input = create("input", {
    type: "range", id: `dimension-${i}`, min: low, max: high, step: (high - low) / DIMENSION_STEPS,
  });
  input.oninput = () => moveDimension(i);
  return input;
}

function showDimension(i, value) {
  const input = dimensions.inputs[i];
  input.value = value;
  showDimensionText(i);
}

function showDimensionText(i) {
  const { low, high, words } = dimensions.named[i];
  const value = Number(dimensions.inputs[i].value);
  const nearest = words[Math.round(((value - low) / (high - low)) * (words.length - 1))];
  setText(`dimension-${i}-value`, String(Number(value.toPrecision(DIMENSION_DIGITS))));
  dimensions.inputs[i].setAttribute("aria-valuetext", `${value}, about ${nearest}`);
}

function moveDimension(i) {
  showDimensionText(i);
  if (dimensions.timer !== null) return; // the newest values are sent when it is over
  dimensions.timer = setTimeout(() => {
    dimensions.timer = null;
    sendPrompt(dimensionPrompt());
  }, SLIDER_DELAY_MS);
}

// Dimensions at rest are left out; a prompt that names none of them has the first one.
function dimensionPrompt() {
  const clauses = dimensions.named.map(({ name, idle }, i) => {
    const value = Number(Number(dimensions.inputs[i].value).toPrecision(DIMENSION_DIGITS));
    return { text: `${name} ${value}`, rests: value === Number(idle.toPrecision(DIMENSION_DIGITS)) };
  });
  const moved = clauses.filter((clause) => !clause.rests);
  return (moved.length ? moved : clauses.slice(0, 1)).map((clause) => clause.text).join("; ");
}

// Sliders follow what others, buttons and keys prompt.
function followPrompt(words) {
  if (dimensions.timer !== null || dimensions.inputs.includes(document.activeElement)) return;
  const clauses = new Set(words.split("; "));
  dimensions.named.forEach(({ name, low, high, words: ofDimension }, i) => {
    const place = ofDimension.findIndex((word) => clauses.has(`${name} ${word}`));
    if (place >= 0) showDimension(i, low + (place / (ofDimension.length - 1)) * (high - low));
  });
}

function showActions(phrases, directions) {
  menu.phrases = phrases;
  const isContinuous = Object.keys(directions).length > 0;
  const named = phrases.map((phrase) => [directionOf(phrase), phrase]);
  menu.byDirection = new Map(isContinuous ? Object.entries(directions) : named);
  const isGrid = !isContinuous && GRID.every((direction) => menu.byDirection.has(direction));
  const ordered = isGrid ? GRID.map((direction) => menu.byDirection.get(direction)) : phrases;
  const buttons = ordered.map((phrase) => {
    const button = create("button", { type: "button", textContent: phrase });
    button.onclick = () => sendPrompt(phrase);
    return button;
  });
  element("actions").replaceChildren(...buttons);
  element("actions").hidden = !buttons.length;
  element("action-keys").hidden = !buttons.length;
}

function directionOf(phrase) {
  const words = phrase.toLowerCase().split(/\W+/);
  return DIRECTIONS.filter((direction) => words.includes(direction)).join(" ");
}

function showSettings(settings) {
  for (const name of SLIDERS) {
    if (pendingSliders.has(name)) continue; // the newer value has not been sent yet
    element(name).value = settings[name];
    element(`${name}-value`).textContent = settings[name];
  }
  element("prompt_scope").value = settings.prompt_scope;
  const latency = settings.latency_frames ? `, ${settings.latency_frames} frames of latency` : "";
  element("partition").textContent = settings.partition + latency;
  showPressed("pause", settings.paused, settings.paused ? "Continue" : "Pause");
  showPressed("record", settings.recording, settings.recording ? "Stop recording" : "Record");
  if (settings.ended) {
    showStatus("ended");
    showProblem("The stream has ended; the server's log says why. Start the server anew.");
  } else {
    showStatus(settings.paused ? "paused" : "live");
  }
  showSaved(settings.saved);
}

function showSaved(saved) {
  const names = saved.length ? saved : [""];
  const current = [...element("saved").options].map((option) => option.value);
  if (current.join() === names.join()) return;
  const newest = names.at(-1);
  const options = names.map((name) => {
    return new Option(name || "nothing saved", name, false, name === newest);
  });
  element("saved").replaceChildren(...options);
}

function addFilmLink({ name, frames: count }) {
  const address = `films/${encodeURIComponent(name)}${location.search}`;
  addLink({ href: address, textContent: `${name}, ${count} frames`, download: "" });
}

function addBranchLink({ name }) {
  addLink({ href: addressOf(name), textContent: `stream ${name}, a branch`, target: "_blank" });
}

function goToStream(name) {
  location.assign(addressOf(name));
}

function addressOf(stream) {
  const query = new URLSearchParams(location.search);
  query.set("stream", stream);
  return `?${query}`;
}

function addLink(attributes) {
  const item = create("li");
  item.append(create("a", attributes));
  element("links").prepend(item);
}

// ---- frames ----

async function drawFrames() {
  if (frames.drawing) return;
  frames.drawing = true;
  try {
    while (frames.newest) { // frames that arrive while one is drawn replace each other
      const packed = frames.newest;
      frames.newest = null;
      await drawFrame(packed);
    }
  } catch (error) {
    console.error(error);
  } finally {
    frames.drawing = false;
  }
}

async function drawFrame(packed) {
  const { header, jpegs } = unpack(packed);
  const [image, simulatorImage] = await Promise.all(jpegs.map((jpeg) => createImageBitmap(jpeg)));
  drawImage("image", image);
  drawImage("simulator-image", simulatorImage);
  showLatency(header.number);
  if (element("prompt").textContent !== header.prompt) followPrompt(header.prompt);
  setText("prompt", header.prompt);
  setText("simulator-action", header.simulator_action || "cannot follow from here; press Reset");
  setText("measured-fps", header.fps.toFixed(1));
  showBuffer(header);
  element("image").dataset.number = header.number;
}

function unpack(packed) {
  const length = new DataView(packed).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(packed, 4, length)));
  let start = 4 + length;
  const jpegs = [];
  for (const size of header.jpeg_sizes) {
    jpegs.push(new Blob([new Uint8Array(packed, start, size)], { type: "image/jpeg" }));
    start += size;
  }
  return { header, jpegs };
}

function drawImage(id, bitmap) {
  const canvas = element(id);
  const context = canvas.getContext("2d");
  if (bitmap) context.drawImage(bitmap, 0, 0);
  else context.clearRect(0, 0, canvas.width, canvas.height);
}

function showBuffer(header) {
  const slots = [...header.buffer].reverse();
  slots.push({ prompt: header.prompt, progress: 1 }); // the frame that is shown
  const list = element("buffer");
  while (list.children.length < slots.length) list.append(create("li"));
  while (list.children.length > slots.length) list.lastChild.remove();
  slots.forEach((slot, i) => {
    const percent = Math.round(100 * slot.progress);
    const item = list.children[i];
    item.style.setProperty("--progress", `${percent}%`);
    const text = `${percent} % ${slot.prompt}`;
    if (item.textContent !== text) item.textContent = text;
  });
}

function showLatency(number) {
  const isDrawn = (answer) => answer.number <= number;
  for (const { id } of prompts.applied.filter(isDrawn)) {
    if (!prompts.sentAt.has(id)) continue;
    prompts.latencies.push(performance.now() - prompts.sentAt.get(id));
    for (const sentId of [...prompts.sentAt.keys()]) {
      if (sentId <= id) prompts.sentAt.delete(sentId); // older prompts were replaced
    }
    if (prompts.latencies.length > MAX_LATENCIES) prompts.latencies.shift();
    setText("latency", latencyText(prompts.latencies));
  }
  prompts.applied = prompts.applied.filter((answer) => !isDrawn(answer));
}

function latencyText(latencies) {
  const sorted = [...latencies].sort((a, b) => a - b);
  const quantile = (share) => {
    const index = Math.min(sorted.length - 1, Math.floor(share * sorted.length));
    return Math.round(sorted[index]);
  };
  const newest = Math.round(latencies.at(-1));
  return `${newest} ms (p50 ${quantile(0.5)}, p95 ${quantile(0.95)}, of ${sorted.length})`;
}

// ---- controls ----

const isPressed = (id) => element(id).dataset.on === "true";

const BUTTONS = {
  pause: () => send("pause", { on: !isPressed("pause") }),
  step: () => send("step"),
  rewind: () => send("rewind", { seconds: REWIND_S }),
  reset: () => send("reset"),
  record: () => send("record", { on: !isPressed("record") }),
  save: () => send("save"),
  restore: () => element("saved").value && send("restore", { name: element("saved").value }),
  branch: () => send("branch"),
  open: () => send("open", { world: element("worlds").value }),
};
const SHORTCUTS = {
  " ": BUTTONS.pause, ".": BUTTONS.step, b: BUTTONS.rewind, r: BUTTONS.record,
};

function moveSlider(name) {
  element(`${name}-value`).textContent = element(name).value;
  if (pendingSliders.has(name)) return;
  pendingSliders.add(name);
  setTimeout(() => {
    pendingSliders.delete(name);
    send("configure", { [name]: Number(element(name).value) });
  }, SLIDER_DELAY_MS);
}

function promptForDirection(direction) {
  const idle = menu.phrases[0];
  return menu.byDirection.get(direction) || idle;
}

function sendHeldDirections() {
  const held = DIRECTIONS.filter((direction) => heldDirections.has(direction));
  const isKnown = menu.byDirection.has(held.join(" "));
  sendPrompt(promptForDirection(isKnown ? held.join(" ") : held.at(-1)));
}

function normalizedKey(event) {
  return event.key.length === 1 ? event.key.toLowerCase() : event.key;
}

function handleKeyDown(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const key = normalizedKey(event);
  if (key in DIRECTION_KEYS) {
    event.preventDefault();
    if (event.repeat) return;
    heldDirections.add(DIRECTION_KEYS[key]);
    sendHeldDirections();
  } else if (key === "/") {
    event.preventDefault();
    element("text").focus();
  } else if (/^[1-9]$/.test(key) && menu.phrases[key - 1]) {
    if (!event.repeat) sendPrompt(menu.phrases[key - 1]);
  } else if (key in SHORTCUTS && !(key === " " && event.target.matches("button, a"))) {
    event.preventDefault();
    if (!event.repeat) SHORTCUTS[key]();
  }
}

function handleKeyUp(event) {
  const direction = DIRECTION_KEYS[normalizedKey(event)];
  if (direction && heldDirections.delete(direction)) sendHeldDirections();
}

function handleBlur() {
  if (!heldDirections.size) return;
  heldDirections.clear();
  sendPrompt(menu.phrases[0]);
}

function handlePointer(event) {
  const box = element("image").getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width - 0.5;
  const y = (event.clientY - box.top) / box.height - 0.5;
  const isCenter = Math.hypot(x, y) < 0.08;
  // within 22.5 degrees of an axis the direction is the axis
  const threshold = Math.max(Math.abs(x), Math.abs(y)) / 2.4;
  const words = [];
  if (y < -threshold) words.push("up");
  if (y > threshold) words.push("down");
  if (x < -threshold) words.push("left");
  if (x > threshold) words.push("right");
  sendPrompt(promptForDirection(isCenter ? "" : words.join(" ")));
}

function addListeners() {
  element("text").oninput = showTextLength;
  element("prompt-form").onsubmit = (event) => {
    event.preventDefault();
    sendPrompt(element("text").value.trim());
    element("text").select();
  };
  for (const name of SLIDERS) element(name).oninput = () => moveSlider(name);
  element("prompt_scope").onchange = () => {
    send("configure", { prompt_scope: element("prompt_scope").value });
  };
  for (const [id, act] of Object.entries(BUTTONS)) element(id).onclick = act;
  element("image").addEventListener("pointerdown", handlePointer);
  document.addEventListener("keydown", handleKeyDown);
  document.addEventListener("keyup", handleKeyUp);
  window.addEventListener("blur", handleBlur);
}

// ---- helpers ----

function create(tag, attributes = {}) {
  return Object.assign(document.createElement(tag), attributes);
}

function setText(id, text) {
  if (element(id).textContent !== text) element(id).textContent = text;
}

function showPressed(id, on, text) {
  element(id).dataset.on = on;
  setText(id, text);
}

function showStatus(text) {
  element("status").textContent = text;
}

function showTextLength() {
  const input = element("text");
  setText("text-length", `${input.value.length} of ${input.maxLength} characters`);
}

function showProblem(text, ms) {
  clearTimeout(problemTimer);
  element("problem").textContent = text;
  element("problem").hidden = !text;
  if (ms) problemTimer = setTimeout(() => showProblem(""), ms);
}

addListeners();
setInterval(checkSilence, 1000);
connect();
