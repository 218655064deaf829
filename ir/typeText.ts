import { printNumber, readAll, type TextReader } from "./textReader.ts";
import { type Extent, noPrefix, type Prefix, type TensorType } from "./types.ts";

/**
 * `[b, prefix 1 over t, t 4, h 3; 64]`, `int[n 10; 1]`, `[64]` for channels alone; prefix tokens that became a grid are
 * `axis prefix 1`. The inverse of `parseType`.
 */
export const printType = (type: TensorType): string => {
  const { count, over } = type.prefix;
  const tokens = [
    ...(type.batch ? ["b"] : []),
    ...(count > 0 ? [`prefix ${count}${over.length > 0 ? ` over ${over.join(" ")}` : ""}`] : []),
    ...type.axes.map(({ axis, size }) => `${axis === "prefix" ? "axis " : ""}${axis} ${size}`),
  ];
  const front = tokens.length > 0 ? `${tokens.join(", ")}; ` : "";
  return `${type.element === "int" ? "int" : ""}[${front}${printNumber(type.channels)}]`;
};

export const parseType = (text: string): TensorType => readAll(text, readType);

export const readType = (reader: TextReader): TensorType => {
  const element = reader.acceptWord("int") ? "int" : "float";
  reader.expect("[");
  let batch = false;
  let prefix: Prefix = noPrefix;
  const axes: Extent[] = [];
  const channelsAlone = reader.acceptNumber();
  if (channelsAlone !== undefined) {
    reader.expect("]");
    return { element, batch, prefix, axes, channels: channelsAlone };
  }
  do {
    const name = reader.name();
    const size = reader.acceptNumber();
    if (size === undefined && name === "axis") axes.push({ axis: reader.name(), size: reader.number() });
    else if (size === undefined) {
      if (name !== "b" || batch) reader.fail(`"${name}" has no size`);
      batch = true;
    } else if (name === "prefix") prefix = { count: size, over: readOver(reader) };
    else axes.push({ axis: name, size });
  } while (reader.accept(","));
  reader.expect(";");
  const channels = reader.number();
  reader.expect("]");
  return { element, batch, prefix, axes, channels };
};

const readOver = (reader: TextReader): readonly string[] => {
  if (!reader.acceptWord("over")) return [];
  const over = [reader.name()];
  for (let axis = reader.acceptName(); axis !== undefined; axis = reader.acceptName()) over.push(axis);
  return over;
};
