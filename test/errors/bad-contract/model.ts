// What the axis is said to decide is not what decides the input.
import { type Grid, grid, Linear, model, Module } from "fovea";
import { z } from "zod";

class Net extends Module<{ frames: number; width: number }> {
  proj = new Linear(this.config.width);

  forward({ video }: { video: Grid<"t"> }) {
    return { out: this.proj(video) };
  }
}

export default model({
  name: "net",
  config: z.strictObject({ frames: z.int().default(8), width: z.int().default(16) }),
  inputs: ({ frames }) => ({ video: grid({ t: frames }, 48) }),
  module: (config) => new Net(config),
  axes: { t: (t) => ({ width: t }) },
});
