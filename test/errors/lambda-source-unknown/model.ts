// A function whose source no file holds.
import { type Grid, grid, model, Module, pointwise } from "fovea";
import { z } from "zod";

type Clip = Grid<"t" | "h" | "w">;

const twice = new Function("x", "return 2 * x") as (x: number) => number;

class Net extends Module {
  forward({ video }: { video: Clip }) {
    return { out: pointwise(video, twice) };
  }
}

export default model({
  name: "net",
  config: z.strictObject({}),
  inputs: () => ({ video: grid({ t: 4, h: 8, w: 8 }, 48) }),
  module: () => new Net(),
});
