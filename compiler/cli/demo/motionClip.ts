import { hash32, mulberry32, type Random } from "../random.ts";
import { type Shape, shapeNames, signedDistance } from "./shapes.ts";

/** What a clip shows; the index is the class. */
export const motions = [
  "moving left",
  "moving right",
  "moving up",
  "moving down",
  "turning clockwise",
  "turning counter-clockwise",
  "growing",
  "shrinking",
  "blinking",
  "standing still",
] as const;
export type Motion = (typeof motions)[number];

/** Frames and pixels a side of every clip. */
export const clipFrames = 8;
export const clipSize = 64;

type Colour = readonly [red: number, green: number, blue: number];
type Pose = { readonly x: number; readonly y: number; readonly radius: number; readonly angle: number };
type Figure = { readonly shape: Shape; readonly colour: Colour };

/** All that a clip's seed decides. */
export type Clip = {
  readonly motion: Motion;
  readonly shape: Shape;
  readonly background: Colour;
  readonly colour: Colour;
  readonly frames: readonly (Pose & { readonly opacity: number; readonly shake: readonly [x: number, y: number] })[];
  /** A second shape that stands still behind the first. */
  readonly distractor: (Figure & Pose) | null;
  readonly noise: { readonly deviation: number; readonly seed: number };
};

/** Clips with these seeds were never seen in training. */
export const heldOutSeed = (index: number): number => (0x80000000 + index) >>> 0;

/** The clip of a seed. The order of the draws is part of the definition. */
export function drawClip(seed: number): Clip {
  const random = mulberry32(seed);
  const label = random.choose(motions.length);
  const motion = motions[label] ?? "standing still";
  const turning = label === 4 || label === 5;
  // A disc or a ring cannot be seen turning.
  const shape = shapeNames[turning ? 2 + random.choose(7) : random.choose(9)] ?? "disc";
  const background = drawColour(() => random.between(0.05, 0.95));
  const colour = drawUntil(
    random,
    (candidate) =>
      distance(candidate, background) >= 0.5 && Math.abs(luminance(candidate) - luminance(background)) >= 0.15,
  );
  const { radii, opacities, shift, turn } = drawMotion(random, label);

  const margin = 0.9 * Math.max(...radii);
  const [endX, endY] = [7 * shift[0], 7 * shift[1]];
  const x = random.between(margin - Math.min(0, endX), clipSize - margin - Math.max(0, endX));
  const y = random.between(margin - Math.min(0, endY), clipSize - margin - Math.max(0, endY));
  const angle = random.between(0, 2 * Math.PI);

  const distractor = random.next() < 0.35 ? drawDistractor(random, background, colour) : null;
  const amplitude = random.between(0, 0.4);
  const frames = radii.map((radius, t) => ({
    x: x + shift[0] * t,
    y: y + shift[1] * t,
    radius,
    angle: angle + turn * t,
    opacity: opacities[t] ?? 1,
    shake: [random.between(-amplitude, amplitude), random.between(-amplitude, amplitude)] as const,
  }));
  const noise = { deviation: random.between(0, 0.02), seed: Math.floor(2 ** 32 * random.next()) };
  return { motion, shape, background, colour, frames, distractor, noise };
}

type Course = {
  readonly radii: readonly number[];
  readonly opacities: readonly number[];
  /** Pixels and radians a frame. */
  readonly shift: readonly [x: number, y: number];
  readonly turn: number;
};
const everyFrame = <T>(value: (t: number) => T): T[] => Array.from({ length: clipFrames }, (_, t) => value(t));

/** A shape of one size that stays where it is. */
const steady = (radius: number): Course => ({
  radii: everyFrame(() => radius),
  opacities: everyFrame(() => 1),
  shift: [0, 0],
  turn: 0,
});

function drawMotion(random: Random, label: number): Course {
  switch (motions[label]) {
    case "moving left":
    case "moving right":
    case "moving up":
    case "moving down": {
      const radius = random.between(7, 13);
      const speed = random.between(1.6, 4);
      // The product first, then the division: the order decides the last bit.
      const deviation = (random.between(-12, 12) * Math.PI) / 180;
      const direction = ([Math.PI, 0, -Math.PI / 2, Math.PI / 2][label] ?? 0) + deviation;
      return { ...steady(radius), shift: [speed * Math.cos(direction), speed * Math.sin(direction)] };
    }
    case "turning clockwise":
    case "turning counter-clockwise": {
      const radius = random.between(13, 22);
      const turn = (random.between(8, 20) * Math.PI) / 180;
      return { ...steady(radius), turn: label === 5 ? -turn : turn };
    }
    case "growing":
    case "shrinking": {
      const start = random.between(5, 9);
      const growth = random.between(1.6, 2.5);
      const radii = everyFrame((t) => start * growth ** (t / 7));
      return { ...steady(start), radii: label === 6 ? radii : radii.toReversed() };
    }
    case "blinking": {
      const radius = random.between(6, 20);
      const period = 2 + random.choose(3);
      const shown = period === 3 ? 1 + random.choose(2) : period / 2;
      const phase = random.choose(period);
      const hidden = random.between(0, 0.15);
      return { ...steady(radius), opacities: everyFrame((t) => ((t + phase) % period < shown ? 1 : hidden)) };
    }
    default:
      return steady(random.between(6, 20));
  }
}

function drawDistractor(random: Random, background: Colour, foreground: Colour): Figure & Pose {
  const shape = shapeNames[random.choose(9)] ?? "disc";
  const radius = random.between(4, 8);
  const x = random.between(6, 58);
  const y = random.between(6, 58);
  const angle = random.between(0, 2 * Math.PI);
  const colour = drawUntil(
    random,
    (candidate) => distance(candidate, background) >= 0.35 && distance(candidate, foreground) >= 0.5,
  );
  return { shape, radius, x, y, angle, colour };
}

const drawColour = (channel: () => number): Colour => [channel(), channel(), channel()];

/** The first colour that will do; after 100 tries the last. */
function drawUntil(random: Random, accept: (colour: Colour) => boolean): Colour {
  let colour = drawColour(random.next);
  for (let tries = 1; tries < 100 && !accept(colour); tries++) colour = drawColour(random.next);
  return colour;
}

const distance = (a: Colour, b: Colour): number =>
  Math.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2);
const luminance = ([red, green, blue]: Colour): number => 0.299 * red + 0.587 * green + 0.114 * blue;

/** The frames of a clip one after another, each `clipSize` rows of `clipSize` RGB pixels. */
export function renderClip(clip: Clip): Uint8Array {
  const pixels = new Uint8Array(clipFrames * clipSize * clipSize * 3);
  let at = 0;
  for (const [t, frame] of clip.frames.entries()) {
    const figure = placed(clip.shape, frame, frame.shake);
    const distractor = clip.distractor === null ? () => 0 : placed(clip.distractor.shape, clip.distractor, frame.shake);
    for (let y = 0; y < clipSize; y++) {
      for (let x = 0; x < clipSize; x++) {
        const behind = distractor(x + 0.5, y + 0.5);
        const front = figure(x + 0.5, y + 0.5) * frame.opacity;
        const noise = clip.noise.deviation * noiseAt(clip.noise.seed, (t * clipSize + y) * clipSize + x);
        for (let channel = 0; channel < 3; channel++) {
          let value = clip.background[channel] ?? 0;
          if (clip.distractor !== null) value += ((clip.distractor.colour[channel] ?? 0) - value) * behind;
          value += ((clip.colour[channel] ?? 0) - value) * front;
          value += noise;
          pixels[at++] = Math.floor(Math.min(Math.max(value, 0), 1) * 255 + 0.5);
        }
      }
    }
  }
  return pixels;
}

/** How much of the pixel with this centre a shape covers. */
function placed(shape: Shape, pose: Pose, shake: readonly [number, number]): (x: number, y: number) => number {
  const [cosine, sine] = [Math.cos(pose.angle), Math.sin(pose.angle)];
  const [centreX, centreY] = [pose.x + shake[0], pose.y + shake[1]];
  return (x, y) => {
    const [fromX, fromY] = [x - centreX, y - centreY];
    const u = (cosine * fromX + sine * fromY) / pose.radius;
    const v = (-sine * fromX + cosine * fromY) / pose.radius;
    return Math.min(Math.max(0.5 - pose.radius * signedDistance(shape, u, v), 0), 1);
  };
}

/** Mean 0, standard deviation 1, within -3..3: the sum of three uniform numbers. */
function noiseAt(seed: number, index: number): number {
  const bits = hash32((seed + Math.imul(index, 0x9e3779b9)) >>> 0);
  return (((bits & 1023) + ((bits >>> 10) & 1023) + ((bits >>> 20) & 1023)) * 2) / 1023 - 3;
}
