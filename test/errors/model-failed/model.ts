// A bracket is missing.
import { type Grid, grid, Linear, model, Module } from "fovea";
import { z } from "zod";

type Clip = Grid<"t" | "h" | "w">;

const sizes = JSON.parse("[48, 96") as number[];

class Net extends Module {
  out = new Linear(sizes[3]!);

  forward({ video }: { video: Clip }) {
    return { out: this.out(video) };
  }
}

export default model({
  name: "net",
  config: z.strictObject({}),
  inputs: () => ({ video: grid({ t: 4, h: 8, w: 8 }, 48) }),
  module: () => new Net(),
});
