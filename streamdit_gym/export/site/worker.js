// Runs the stream beside the page, so that buttons and keys never wait for a network.

import { Stream, concatenated, loadWorld } from "./stream.js";

const MAX_STAGES = 4; // states of the newest frame that are drawn where the buffer holds no other
const BUFFER_EVERY = 5; // frames, where drawing the buffer each time would slow the stream
const MAX_THREADS = 4;
const AVERAGED = 20; // frames

const state = { stream: null, prompt: null, wanted: null, fps: 10, paused: false, number: 0 };
let queue = Promise.resolve(); // one thing at a time changes the stream
let isRunning = false;

// Does something after all that waits, and returns its result; a failure does not end the queue.
function inTurn(action) {
  const result = queue.then(action);
  queue = result.catch(() => {});
  return result;
}

const send = (kind, content = {}, transfer = []) => postMessage({ kind, ...content }, transfer);

async function hasGpu() {
  return Boolean(self.navigator.gpu && (await self.navigator.gpu.requestAdapter()));
}

async function load({ address, backend }) {
  if (backend !== "wasm" && (backend === "webgpu" || (await hasGpu()))) {
    try {
      return await loadWith("webgpu", address);
    } catch (error) {
      send("note", { text: `WebGPU cannot be used here (${error.message})` });
    }
  }
  return loadWith("wasm", address);
}

async function loadWith(backend, address) {
  send("loading", { text: "loading the runtime" });
  const ort = await import(`./runtime/ort.${backend}.min.mjs`);
  const threads = self.crossOriginIsolated ? Math.min(MAX_THREADS, navigator.hardwareConcurrency) : 1;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  const world = await loadWorld(ort, address, [backend], (text) => send("loading", { text }));
  state.stream = new Stream(ort, world);
  state.fps = world.description.fps;
  await begin({ row: 0, seed: 0, prompt: idlePrompt(world.description) });
  return { description: world.description, backend, threads };
}

function idlePrompt({ actions }) {
  if (actions.dimensions) return { values: actions.dimensions.map(({ idle }) => idle) };
  return { phrase: actions.buttons[0] };
}

async function packed({ phrase, values }) {
  return values ? state.stream.values(values) : state.stream.phrase(phrase);
}

async function begin({ row, seed, prompt }) {
  state.prompt = await packed(prompt);
  await state.stream.start(row, seed, state.prompt);
}

async function starts() {
  const { description, arrays, latent } = state.stream;
  const pixels = await state.stream.decode(arrays.starts);
  return { count: arrays.starts.length / latent, size: description.frame_size, pixels };
}

// The next frame: its pixels, those of the frames being denoised, and what it took.
async function nextFrame(withBuffer) {
  const { stream } = state;
  const { frames, micro_steps: steps, slot_times: slotTimes } = stream.description;
  if (state.wanted) {
    state.prompt = await packed(state.wanted);
    state.wanted = null;
  }
  const stages = []; // cleanest first
  const every = Math.ceil(steps / MAX_STAGES);
  const began = performance.now();
  const clean = await stream.tick(state.prompt, (buffer, step) => {
    if (frames === 1 && step % every === 0) stages.unshift({ latents: buffer, time: step / steps });
  });
  const stepped = performance.now();
  slotTimes.slice(0, -1).forEach((time, slot) => stages.push({ latents: stream.slot(slot), time }));
  const drawn = withBuffer ? [clean, ...stages.map(({ latents }) => latents)] : [clean];
  const pixels = await stream.decode(concatenated(drawn));
  const times = stages.map(({ time }) => time);
  return { pixels, times, stepMs: stepped - began, decodeMs: performance.now() - stepped };
}

async function run() {
  if (isRunning) return;
  isRunning = true;
  let due = performance.now();
  let busyMs = 0;
  const shown = [];
  try {
    while (!state.paused) {
      const began = performance.now();
      const isFast = busyMs < 1000 / state.fps;
      const withBuffer = isFast || state.number % BUFFER_EVERY === 0;
      const frame = await inTurn(() => nextFrame(withBuffer));
      const now = performance.now();
      if (withBuffer) busyMs = now - began;
      shown.push(now);
      if (shown.length > AVERAGED) shown.shift();
      const fps = shown.length > 1 ? ((shown.length - 1) * 1000) / (now - shown[0]) : 0;
      state.number += 1;
      send("frame", { ...frame, withBuffer, fps, number: state.number }, [frame.pixels.buffer]);
      due = Math.max(due + 1000 / state.fps, now);
      await new Promise((resolve) => setTimeout(resolve, due - now));
    }
  } finally {
    isRunning = false;
  }
}

const HANDLERS = {
  load: async (message) => {
    const ready = await load(message);
    send("ready", { ...ready, starts: await starts() });
    run().catch(fail);
  },
  prompt: ({ prompt }) => { state.wanted = prompt; },
  fps: ({ fps }) => { state.fps = fps; },
  pause: ({ on }) => {
    state.paused = on;
    if (!on) run().catch(fail);
  },
  restart: async (message) => {
    state.wanted = null; // a prompt that comes after this message counts
    await inTurn(() => begin(message));
  },
};

function fail(error) {
  send("error", { text: String(error.message || error) });
}

self.onmessage = async ({ data }) => {
  try {
    await HANDLERS[data.kind](data);
  } catch (error) {
    fail(error);
  }
};
