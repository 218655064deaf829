// A function that calls itself.
import { type Grid, grid, model, Module, pointwise } from "fovea";
import { z } from "zod";

type Clip = Grid<"t" | "h" | "w">;

const factorial = (x: number): number => (x < 1 ? 1 : x * factorial(x - 1));

class Net extends Module {
  forward({ video }: { video: Clip }) {
    return { out: pointwise(video, (x) => factorial(x)) };
  }
}

export default model({
  name: "net",
  config: z.strictObject({}),
  inputs: () => ({ video: grid({ t: 4, h: 8, w: 8 }, 48) }),
  module: () => new Net(),
});
