// One stream of an exported world. All its state is here; the networks hold none.

import { Noise } from "./noise.js";

const S_MIN = 1e-5; // see `streamdit_gym.model.preconditioning`

const size = (shape) => shape.reduce((product, length) => product * length, 1);

export function concatenated(parts) {
  const whole = new Float32Array(parts.reduce((total, part) => total + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

// Load description, arrays and networks of a world; `report` is told what is being loaded.
export async function loadWorld(ort, address, providers, report = () => {}) {
  const get = async (name) => {
    const response = await fetch(new URL(name, address));
    if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
    return response;
  };
  const description = await (await get("world.json")).json();
  const numbers = new Float32Array(await (await get("world.bin")).arrayBuffer());
  const arrays = {};
  for (const [name, { offset, shape }] of Object.entries(description.arrays)) {
    arrays[name] = numbers.subarray(offset, offset + size(shape));
  }
  const graphs = {};
  for (const name of ["prompt", "step", "decoder"]) {
    report(`loading ${name}.onnx`);
    const bytes = new Uint8Array(await (await get(`${name}.onnx`)).arrayBuffer());
    graphs[name] = await ort.InferenceSession.create(bytes, { executionProviders: providers });
  }
  return { description, arrays, graphs };
}

export class Stream {
  constructor(ort, { description, arrays, graphs }) {
    this.ort = ort;
    this.description = description;
    this.arrays = arrays;
    this.graphs = graphs;
    this.latent = size(description.latent);
  }

  // Row i of an array.
  row(name, i) {
    const [, ...shape] = this.description.arrays[name].shape;
    const length = size(shape);
    return this.arrays[name].subarray(i * length, (i + 1) * length);
  }

  // The packed prompt of a menu's phrase, by its place among all phrases.
  async phrase(i) {
    return this.packed(this.row("tokens", i), this.row("mask", i), this.row("pooled", i));
  }

  // The packed prompt of a box's values: in every dimension between those of two words.
  async values(action) {
    const { prompt_tokens: count, text_width: width } = this.description;
    const { dimensions } = this.description.actions;
    const tokens = new Float32Array(count * width);
    const mask = new Float32Array(count);
    const pooled = new Float32Array(width);
    let first = 0;
    dimensions.forEach(({ words, low, high }, i) => {
      const last = words.length - 1;
      const position = ((Math.min(Math.max(action[i], low), high) - low) / (high - low)) * last;
      const lower = Math.min(Math.floor(position), last - 1);
      const before = this.row("words", first + lower);
      const after = this.row("words", first + lower + 1);
      for (let k = 0; k < width; k++) {
        const value = before[k] + (position - lower) * (after[k] - before[k]);
        tokens[i * width + k] = value;
        pooled[k] += value / dimensions.length;
      }
      mask[i] = 1;
      first += words.length;
    });
    return this.packed(tokens, mask, pooled);
  }

  async packed(tokens, mask, pooled) {
    const { prompt_tokens: count, text_width: width } = this.description;
    const { prompt } = await this.graphs.prompt.run({
      tokens: this.tensor(tokens, [count, width]),
      mask: this.tensor(mask, [count]),
      pooled: this.tensor(pooled, [width]),
    });
    return prompt.data;
  }

  // Start from one of the world's first frames, which stands still for as long as the model looks
  // back. `idle` is the prompt of the frames that the buffer begins with.
  async start(row, seed, idle) {
    const { references, frames, cache, slot_times: slotTimes } = this.description;
    const latents = this.row("starts", row);
    const noPrompt = this.arrays.no_prompt;
    this.noise = new Noise(seed);
    const history = Array.from({ length: references + 1 }, () => latents);
    const noisy = this.asReferences(history);
    this.cache = new Float32Array(size(cache));
    this.buffer = new Float32Array(frames * this.latent);
    this.bufferPrompts = Array(frames).fill(noPrompt);
    this.newestPrompt = noPrompt;
    this.known = 0;
    for (let newest = 1; newest < references; newest++) {
      this.references = noisy.slice(newest - 1, newest + 1);
      this.cache = (await this.step(0)).cache;
      this.known += 1;
    }
    this.references = noisy.slice(-2);
    const waiting = slotTimes.slice(0, -1);
    this.buffer = this.atTimes(waiting.map(() => latents), waiting);
    this.bufferPrompts = waiting.map(() => idle);
  }

  // Move by a frame under a packed prompt; returns the clean latents. `watch` is called with the
  // buffer before every micro step.
  async tick(prompt, watch = () => {}) {
    const { micro_steps: steps, temperature } = this.description;
    const noise = this.noise.draw(this.latent).map((value) => temperature * value);
    this.buffer = concatenated([this.buffer, noise]);
    this.bufferPrompts.push(prompt);
    let result;
    for (let step = 0; step < steps; step++) {
      watch(this.buffer, step);
      result = await this.step(step);
      this.buffer = result.buffer;
    }
    const clean = this.buffer.slice(0, this.latent);
    this.buffer = this.buffer.slice(this.latent);
    this.newestPrompt = this.bufferPrompts.shift();
    this.cache = result.cache;
    this.references = [this.references[1], ...this.asReferences([clean])];
    return clean;
  }

  // The latents of a frame in the buffer, oldest first.
  slot(i) {
    return this.buffer.subarray(i * this.latent, (i + 1) * this.latent);
  }

  // The pixels, red, green and blue, of the latents of some frames.
  async decode(latents) {
    const shape = [latents.length / this.latent, ...this.description.latent];
    const { frames } = await this.graphs.decoder.run({ latents: this.tensor(latents, shape) });
    return frames.data;
  }

  // One micro step: the buffer behind it, and the cache of the next move.
  async step(number) {
    const { latent, frames, cache, micro_steps: steps, prompt_numbers: numbers } = this.description;
    const prompts = concatenated([this.newestPrompt, ...this.bufferPrompts]);
    const inputs = {
      buffer: this.tensor(this.buffer, [frames, ...latent]),
      references: this.tensor(concatenated(this.references), [2, ...latent]),
      prompts: this.tensor(prompts, [1 + frames, numbers]),
      cache: this.tensor(this.cache, cache),
      known: this.tensor(Float32Array.of(this.known), [1]),
    };
    if (steps > 1) inputs.step = new this.ort.Tensor("int32", Int32Array.of(number), [1]);
    const outputs = await this.graphs.step.run(inputs);
    return { buffer: outputs.next_buffer.data, cache: outputs.next_cache.data };
  }

  // Frames, each taken to a noise level.
  atTimes(frames, times) {
    const { temperature } = this.description;
    const noise = this.noise.draw(frames.length * this.latent);
    return concatenated(frames).map((value, i) => {
      const time = times[Math.floor(i / this.latent)];
      return time * value + (1 - (1 - S_MIN) * time) * temperature * noise[i];
    });
  }

  // Clean frames at the noise level of references.
  asReferences(frames) {
    const { reference_time: time } = this.description;
    if (time === 1) return frames;
    const noise = this.noise.draw(frames.length * this.latent);
    return frames.map((frame, place) => frame.map((value, i) => {
      return time * value + (1 - (1 - S_MIN) * time) * noise[place * this.latent + i];
    }));
  }

  tensor(data, shape) {
    return new this.ort.Tensor("float32", data, shape);
  }
}
