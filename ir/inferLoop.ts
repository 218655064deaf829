import { GraphError } from "./errors.ts";
import type { Ops } from "./graph.ts";
import { positive } from "./inferCompute.ts";
import { rowsOf, type TensorType } from "./types.ts";
import { printType } from "./typeText.ts";

export const inferLoop = (
  [flag, ...next]: readonly [flag: TensorType, ...next: readonly TensorType[]],
  { states, atMost }: Ops["loop"]["attrs"],
): TensorType => {
  positive("loop", "the largest number of steps", atMost);
  if (flag.element !== "int" || rowsOf(flag) * flag.channels !== 1)
    throw new GraphError(`loop: the flag is one whole number of each example, not ${printType(flag)}`);
  if (next.length !== states.length)
    throw new GraphError(`loop: ${states.length} states (${states.join(", ")}) get ${next.length} values`);
  return flag;
};
