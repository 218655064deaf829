import type { Frames } from "../report/tokenData.ts";
import type { Coordinates, MapPoints, QueryPoints } from "./collect.ts";

/** What is drawn: a square or so for each map, next to each other. */
const across = 4;
const side = 168;
const gap = 12;
const line = 16;
/** So much of the surroundings of a map is seen too; points still further out are not drawn. */
const margin = 12;
/** By head, as often as there are colours. */
const colours = ["#e6194b", "#3cb44b", "#ffe119", "#4363d8", "#f58231", "#911eb4", "#46f0f0", "#f032e6"];

/** Points of a query over the frames that they lie on. */
export function pointsPicture({ path, query, heads, maps }: QueryPoints, frames: Frames | null): string {
  const columns = Math.min(across, maps.length);
  const tall = Math.max(...maps.map(({ width, height }) => (side * height) / width));
  const cell = { width: side + 2 * margin + gap, height: tall + 2 * margin + line + gap };
  const heaviest = Math.max(...maps.flatMap(({ points }) => points.map(({ weight }) => Math.abs(weight))));
  const top = 3 * line;
  const width = Math.max(gap + columns * cell.width, 480);
  const height = top + Math.ceil(maps.length / columns) * cell.height;
  const panels = maps.flatMap((map, i) => {
    const [x, y] = [gap + (i % columns) * cell.width, top + Math.floor(i / columns) * cell.height];
    return [
      `<g transform="translate(${x} ${y})">`,
      `<text x="${margin}" y="${line - 4}">${escape([nameOf(map), `${map.width} x ${map.height}`].filter((part) => part !== "").join(", "))}</text>`,
      `<svg y="${line}" width="${side + 2 * margin}" height="${tall + 2 * margin}">`,
      ...panel(map, frames, heaviest),
      "</svg></g>",
    ];
  });
  const legend = Array.from({ length: heads }, (_, head) => {
    const x = gap + 44 * head;
    return `<circle cx="${x + 5}" cy="${line + 12}" r="4" fill="${colourOf(head)}" stroke="#333"/><text x="${x + 13}" y="${line + 16}">${head}</text>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${round(width)} ${round(height)}" width="${round(width)}" height="${round(height)}" font-family="sans-serif" font-size="11">`,
    `<rect width="100%" height="100%" fill="white"/>`,
    `<text x="${gap}" y="${line}">${escape(`${path}: where the query at ${describe(query)} looks; areas are weights, colours heads`)}</text>`,
    ...legend,
    ...panels,
    "</svg>\n",
  ].join("\n");
}

function panel({ width, height, frame, own, points }: MapPoints, frames: Frames | null, heaviest: number): string[] {
  const tall = (side * height) / width;
  const picture = pictureOf(frame, frames);
  const at = (x: number, y: number): string => `cx="${round(margin + x * side)}" cy="${round(margin + y * tall)}"`;
  const box = `x="${margin}" y="${margin}" width="${side}" height="${round(tall)}"`;
  return [
    picture === undefined
      ? `<rect ${box} fill="#eee"/>`
      : `<image ${box} preserveAspectRatio="none" style="image-rendering:pixelated" href="${picture}"/>`,
    `<rect ${box} fill="none" stroke="#999"/>`,
    ...points.map(
      ({ head, x, y, weight }) =>
        `<circle ${at(x, y)} r="${round(1 + 6 * Math.sqrt(Math.abs(weight) / heaviest))}" fill="${colourOf(head)}" fill-opacity="0.75" stroke="#333" stroke-width="0.5"/>`,
    ),
    ...(own === null ? [] : cross(margin + own.x * side, margin + own.y * tall)),
  ];
}

const cross = (x: number, y: number): string[] =>
  ['stroke="white" stroke-width="3"', 'stroke="black"'].map(
    (stroke) => `<path d="M${round(x - 5)} ${round(y)}h10M${round(x)} ${round(y - 5)}v10" ${stroke}/>`,
  );

/** The frame that a map is made of, where maps are numbered as frames are. */
const pictureOf = ({ index, count }: MapPoints["frame"], frames: Frames | null): string | undefined =>
  frames?.pictures.length === count ? frames.pictures[index] : undefined;

/** "frame 3, scale 1": a frame where there are several. */
export const nameOf = ({ level, frame }: Pick<MapPoints, "level" | "frame">): string =>
  [...(frame.count > 1 ? [`frame ${frame.index}`] : []), ...entries(level)].join(", ");
export const describe = (at: Coordinates): string => entries(at).join(", ");
const entries = (at: Coordinates): string[] => Object.entries(at).map(([axis, index]) => `${axis} ${index}`);

const colourOf = (head: number): string => colours[head % colours.length] ?? "black";
const round = (value: number): number => Math.round(value * 10) / 10;
const escape = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
