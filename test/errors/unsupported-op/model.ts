// Samples a map with an edge of zeros that lies nowhere.
import { deformable, type Grid, grid, Linear, model, Module } from "fovea";
import { z } from "zod";

type Clip = Grid<"t" | "h" | "w">;

class Net extends Module {
  points = new Linear(2);

  forward({ video }: { video: Clip }) {
    const frame = video.mean("t");
    return { out: deformable([frame.padTo({ h: 5 })], { points: this.points(frame), axes: ["h", "w"] }) };
  }
}

export default model({
  name: "net",
  config: z.strictObject({}),
  inputs: () => ({ video: grid({ t: 4, h: 8, w: 8 }, 48) }),
  module: () => new Net(),
});
