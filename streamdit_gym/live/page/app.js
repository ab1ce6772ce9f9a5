"use strict";

const $ = (id) => document.getElementById(id);
const page = { menu: [], idle: "", byDirection: new Map(), held: new Set(), slid: new Set(), asked: new Map(), reactions: [], obeyed: [], nextId: Math.floor(Math.random() * 2 ** 40), waiting: null, drawing: false, socket: null, heard: 0, wait: 500 };
const SLIDER_MS = 100;
const SILENCE_MS = 6000;  // the server says something every two seconds

// ---- talking with the server ----

function connect() {
  const address = new URL(`talk${location.search}`, document.baseURI);  // a proxy may show the page under a path
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  page.socket = socket;
  page.heard = performance.now();
  socket.onmessage = (event) => {
    page.heard = performance.now();
    if (typeof event.data === "string") hear(JSON.parse(event.data));
    else { page.waiting = event.data; draw(); }
  };
  socket.onclose = (event) => lost(socket, event.reason ? `The server said: ${event.reason}.` : "The server has gone away.");
}

function lost(socket, why) {
  if (socket !== page.socket) return;  // it was given up before
  page.socket = null;
  page.asked.clear();
  page.obeyed.length = 0;
  state("not connected");
  trouble(`${why} Trying again…`);
  setTimeout(connect, page.wait);
  page.wait = Math.min(5000, page.wait * 1.6);
}

setInterval(() => {
  const socket = page.socket;
  if (!socket || performance.now() - page.heard < SILENCE_MS) return;
  lost(socket, "The server has fallen silent.");
  socket.close();
}, 1000);

function send(message) {
  const open = page.socket && page.socket.readyState === WebSocket.OPEN;
  if (open) page.socket.send(JSON.stringify(message));
  else trouble("Not connected: that was not sent. Trying again…");
  return open;
}

function say(text) {
  if (!text) return;
  const id = page.nextId++;
  if (send({ do: "say", text, id })) page.asked.set(id, performance.now());
}

function hear(message) {
  if (message.kind === "hello") greet(message);
  else if (message.kind === "settings") settle(message);
  else if (message.kind === "obeyed") page.obeyed.push(message);
  else if (message.kind === "error") trouble([message.problem, message.given && `given: ${message.given}`, message.allowed && `allowed: ${message.allowed}`, message.remedy].filter(Boolean).join("\n"), 6000);
  else if (message.kind === "recorded") link(`films/${encodeURIComponent(message.name)}${location.search}`, `${message.name}, ${message.frames} frames`, true);
  else if (message.kind === "branched") {
    const query = new URLSearchParams(location.search);
    query.set("stream", message.name);
    link(`?${query}`, `stream ${message.name}, branched off here`, false);
  }
}

// ---- what the server says ----

function greet(hello) {
  page.wait = 500;
  state("live");
  trouble("");
  page.menu = hello.menu;
  page.idle = hello.menu[0];
  $("text").maxLength = hello.prompt_chars;
  $("record").title = `A film ends after 36,000 frames. Where ${hello.films} films lie, or ${hello.film_mib} MiB, none is begun.`;
  put("films", $("record").title);
  count();
  $("world").textContent = `${hello.world}, stream ${hello.stream}`;
  $("twin-figure").hidden = !hello.twin;
  for (const canvas of [$("picture"), $("twin")]) canvas.width = canvas.height = hello.size;
  $("suggestions").replaceChildren(...hello.suggestions.map((phrase) => Object.assign(document.createElement("option"), { value: phrase })));
  page.byDirection = new Map(hello.menu.map((phrase) => [directions(phrase).join(" "), phrase]));
  const places = ["up left", "up", "up right", "left", "", "right", "down left", "down", "down right"];
  const grid = places.every((place) => page.byDirection.has(place)) ? places.map((place) => page.byDirection.get(place)) : hello.menu;
  $("pad").replaceChildren(...grid.map((phrase) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: phrase });
    button.onclick = () => say(phrase);
    return button;
  }));
}

function directions(phrase) {
  const words = phrase.toLowerCase().split(/\W+/);
  return ["up", "down", "left", "right"].filter((word) => words.includes(word));
}

function settle(settings) {
  for (const name of ["chunks", "micro_steps", "transition", "fps"]) {
    if (page.slid.has(name)) continue;  // what is on its way counts
    $(name).value = settings[name];
    $(`${name}-out`).textContent = settings[name];
  }
  $("scope").value = settings.scope;
  $("partition").textContent = settings.latency_frames ? `${settings.partition}, ${settings.latency_frames} frames late` : settings.partition;
  press("pause", settings.paused, settings.paused ? "Go on" : "Pause");
  press("record", settings.recording, settings.recording ? "Stop recording" : "Record");
  state(settings.ended ? "ended" : settings.paused ? "paused" : "live");
  if (settings.ended) trouble("The stream has ended; the server's log says why. Start the server anew.");
  const options = settings.saved.length ? settings.saved : [""];
  if ([...$("saved").options].map((option) => option.value).join() !== options.join()) {
    $("saved").replaceChildren(...options.map((name) => new Option(name || "nothing saved", name, false, name === options.at(-1))));
  }
}

function press(id, on, text) {
  $(id).dataset.on = on;
  put(id, text);
}

function put(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

async function draw() {  // of the frames that come meanwhile only the newest is drawn
  if (page.drawing) return;
  page.drawing = true;
  try {
    while (page.waiting) {
      const packed = page.waiting;
      page.waiting = null;
      await show(packed);
    }
  } catch (error) {
    console.error(error);
  } finally {
    page.drawing = false;
  }
}

async function show(packed) {
  const length = new DataView(packed).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(packed, 4, length)));
  let start = 4 + length;
  const pictures = header.sizes.map((size) => new Blob([new Uint8Array(packed, (start += size) - size, size)], { type: "image/jpeg" }));
  const drawn = await Promise.all(pictures.map((blob) => createImageBitmap(blob)));
  drawn.forEach((bitmap, i) => $(i ? "twin" : "picture").getContext("2d").drawImage(bitmap, 0, 0));
  if (drawn.length === 1) $("twin").getContext("2d").clearRect(0, 0, $("twin").width, $("twin").height);
  const now = performance.now();
  const obeyed = page.obeyed.filter(({ number }) => number <= header.number);
  page.obeyed = page.obeyed.filter(({ number }) => number > header.number);
  for (const { id } of obeyed) {
    if (!page.asked.has(id)) continue;
    page.reactions.push(now - page.asked.get(id));
    for (const other of [...page.asked.keys()]) if (other <= id) page.asked.delete(other);  // those before it were overtaken
    if (page.reactions.length > 100) page.reactions.shift();
    const sorted = [...page.reactions].sort((a, b) => a - b);
    const at = (share) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]);
    $("reaction").textContent = `${Math.round(page.reactions.at(-1))} ms (p50 ${at(.5)}, p95 ${at(.95)}, of ${sorted.length})`;
  }
  put("prompt", header.prompt);
  put("understood", header.understood || "cannot follow from here; press New start");
  put("rate", header.fps.toFixed(1));
  const strip = [...header.buffer].reverse();
  strip.push({ prompt: header.prompt, done: 1 });
  while ($("strip").children.length < strip.length) $("strip").append(document.createElement("li"));
  while ($("strip").children.length > strip.length) $("strip").lastChild.remove();
  strip.forEach((slot, i) => {
    const item = $("strip").children[i];
    item.style.setProperty("--done", `${100 * slot.done}%`);
    const text = `${Math.round(100 * slot.done)} % ${slot.prompt}`;
    if (item.textContent !== text) item.textContent = text;
  });
  $("picture").dataset.number = header.number;
}

// ---- what people do ----

function count() { put("text-left", `${$("text").value.length} of ${$("text").maxLength} characters`); }

$("text").oninput = count;
$("say").onsubmit = (event) => { event.preventDefault(); say($("text").value.trim()); $("text").select(); };
for (const name of ["chunks", "micro_steps", "transition", "fps"]) {
  $(name).oninput = () => {
    $(`${name}-out`).textContent = $(name).value;
    if (page.slid.has(name)) return;
    page.slid.add(name);
    setTimeout(() => { page.slid.delete(name); send({ do: "set", [name]: Number($(name).value) }); }, SLIDER_MS);
  };
}
$("scope").onchange = () => send({ do: "set", scope: $("scope").value });
const pressed = (id) => $(id).dataset.on === "true";
const acts = {
  pause: () => send({ do: "pause", on: !pressed("pause") }),
  step: () => send({ do: "step" }),
  rewind: () => send({ do: "rewind", seconds: 3 }),
  begin: () => send({ do: "begin" }),
  record: () => send({ do: "record", on: !pressed("record") }),
  save: () => send({ do: "save" }),
  restore: () => $("saved").value && send({ do: "restore", name: $("saved").value }),
  branch: () => send({ do: "branch" }),
};
for (const [id, act] of Object.entries(acts)) $(id).onclick = act;

const KEYS = { ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right", w: "up", s: "down", a: "left", d: "right" };
const SHORTCUTS = { " ": acts.pause, ".": acts.step, b: acts.rewind, r: acts.record };

function sayHeld() {
  const held = ["up", "down", "left", "right"].filter((word) => page.held.has(word));
  say(page.byDirection.get(held.join(" ")) || (held.length ? page.byDirection.get(held.at(-1)) : page.idle));
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input:not([type=range])");
  if (typing || event.target.matches("select, input[type=range]")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key in KEYS) {
    event.preventDefault();
    if (!event.repeat) { page.held.add(KEYS[key]); sayHeld(); }
  } else if (key === "/") {
    event.preventDefault();
    $("text").focus();
  } else if (/^[1-9]$/.test(key) && page.menu[key - 1]) {
    if (!event.repeat) say(page.menu[key - 1]);
  } else if (key in SHORTCUTS && !(key === " " && event.target.matches("button, a"))) {
    event.preventDefault();
    if (!event.repeat) SHORTCUTS[key]();
  }
});
document.addEventListener("keyup", (event) => {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key in KEYS && page.held.delete(KEYS[key])) sayHeld();
});
window.addEventListener("blur", () => { if (page.held.size) { page.held.clear(); say(page.idle); } });

$("picture").addEventListener("pointerdown", (event) => {
  const box = $("picture").getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width - .5;
  const y = (event.clientY - box.top) / box.height - .5;
  const flat = Math.max(Math.abs(x), Math.abs(y)) / 2.4;  // within 22.5 degrees of an axis it is the axis
  const words = [y < -flat && "up", y > flat && "down", x < -flat && "left", x > flat && "right"].filter(Boolean);
  say(page.byDirection.get(Math.hypot(x, y) < .08 ? "" : words.join(" ")) || page.idle);
});

// ---- small things ----

function state(text) { $("state").textContent = text; }

function trouble(text, ms) {
  clearTimeout(page.trouble);
  $("problem").textContent = text;
  $("problem").hidden = !text;
  if (ms) page.trouble = setTimeout(() => trouble(""), ms);
}

function link(address, text, download) {
  const anchor = Object.assign(document.createElement("a"), { href: address, textContent: text });
  if (download) anchor.download = "";
  else anchor.target = "_blank";
  const item = document.createElement("li");
  item.append(anchor);
  $("links").prepend(item);
}

connect();
