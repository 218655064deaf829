// The configuration says detph.
import { type Grid, grid, Linear, model, Module } from "fovea";
import { z } from "zod";

type Clip = Grid<"t" | "h" | "w">;

class Net extends Module {
  out = new Linear(10);

  forward({ video }: { video: Clip }) {
    return { out: this.out(video) };
  }
}

export default model({
  name: "net",
  config: z.strictObject({ depth: z.int().positive().default(2) }),
  inputs: () => ({ video: grid({ t: 4, h: 8, w: 8 }, 48) }),
  module: () => new Net(),
});
