// 48 channels and 96.
import { type Grid, grid, Linear, model, Module } from "fovea";
import { z } from "zod";

type Clip = Grid<"t" | "h" | "w">;

class Net extends Module {
  up = new Linear(96);

  forward({ video }: { video: Clip }) {
    return { out: video.add(this.up(video)) };
  }
}

export default model({
  name: "net",
  config: z.strictObject({}),
  inputs: () => ({ video: grid({ t: 4, h: 8, w: 8 }, 48) }),
  module: () => new Net(),
});
